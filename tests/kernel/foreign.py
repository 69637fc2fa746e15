import ctypes
libc = ctypes.CDLL(None, use_errno=True)
SYS_BPF = {'x86_64': 321, 'aarch64': 280}[os.uname().machine]
PROG_LOAD, PROG_ATTACH = 5, 8
SKB, SOCK_ADDR, ALLOW_MULTI = 8, 18, 2

def bpf(command, attributes):
    attributes = ctypes.create_string_buffer(attributes, 144)
    result = libc.syscall(SYS_BPF, command, attributes, 144)
    if result < 0: raise OSError(ctypes.get_errno(), 'bpf')
    return result

def foreign(cgroup, kind, hook, flags, name):
    # r0 = 1; exit: lets everything through.
    code = struct.pack('<BBhi', 0xb7, 0, 0, 1) + struct.pack('<BBhi', 0x95, 0, 0, 0)
    code = ctypes.create_string_buffer(code, len(code))
    gpl = ctypes.create_string_buffer(b'GPL')
    program = bpf(PROG_LOAD, struct.pack('=IIQQIIQII16sII', kind, 2, ctypes.addressof(code),
        ctypes.addressof(gpl), 0, 0, 0, 0, 0, name, 0, hook))
    directory = os.open(cgroup, os.O_RDONLY)
    bpf(PROG_ATTACH, struct.pack('=IIII', directory, program, hook, flags))
