import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)

class Ring:
    """io_uring, one operation at a time."""
    def __init__(self, flags=0):
        p = (ctypes.c_uint32 * 30)()
        p[2] = flags
        self.fd = libc.syscall(425, 8, p)
        if self.fd < 0:
            print('absent')
            sys.exit()
        self.sq = mmap.mmap(self.fd, p[16] + 64, flags=mmap.MAP_SHARED, offset=0)
        self.cq = mmap.mmap(self.fd, p[25] + 512, flags=mmap.MAP_SHARED, offset=0x8000000)
        self.sqes = mmap.mmap(self.fd, 512, flags=mmap.MAP_SHARED, offset=0x10000000)
        self.tail, self.array, self.head, self.cqes, self.done = p[11], p[16], p[20], p[25], 0

    def run(self, opcode, fd, off=0, addr=0, length=0, flags=0, slot=0, extra=0):
        at = self.done % 8
        self.sqes[at * 64:at * 64 + 64] = struct.pack(
            '=BBHiQQIIQ4xIQ8x', opcode, flags, 0, fd, off, addr, length, 0, 0, slot, extra)
        struct.pack_into('=I', self.sq, self.array + 4 * at, at)
        struct.pack_into('=I', self.sq, self.tail, self.done + 1)
        # Waits, and wakes the kernel's own thread where the ring has one.
        libc.syscall(426, self.fd, 1, 1, 3, None, 0)
        result = struct.unpack_from('=i', self.cq, self.cqes + 16 * (self.done % 16) + 8)[0]
        self.done += 1
        # Taken, so that the next call waits for the next.
        struct.pack_into('=I', self.cq, self.head, self.done)
        return result

    def reserve(self, slots):
        """Room for descriptors that the process itself does not have."""
        libc.syscall(427, self.fd, 2, (ctypes.c_int32 * slots)(*[-1] * slots), slots)

def kept(content):
    """The address of octets that stay where they are."""
    keep.append(ctypes.create_string_buffer(content, len(content)))
    return ctypes.addressof(keep[-1])

def message(destination, length):
    """A struct msghdr with one octet for a destination."""
    part = kept(struct.pack('=QQ', kept(b'x'), 1))
    return kept(struct.pack('=QI4xQQQQi4x', destination, length, part, 1, 0, 0, 0))

OP_SENDMSG, OP_CONNECT, OP_SEND, OP_SOCKET, OP_COMMAND, OP_SEND_ZC = 9, 16, 26, 45, 46, 47
DIRECT, ASYNC, POLLED, SETSOCKOPT = 1, 16, 2, 3
keep = []
v4 = kept(struct.pack('=H', AF_INET) + struct.pack('!H', 80) + inet_aton('192.0.2.7') + bytes(8))
v6 = kept(struct.pack('=H', AF_INET6) + struct.pack('!HI', 80, 0) + inet_pton(AF_INET6, '2001:db8::7') + bytes(4))
ring = Ring()
