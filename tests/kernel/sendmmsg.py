import ctypes
libc = ctypes.CDLL(None, use_errno=True)

def v4(address, port):
    return struct.pack('=H', AF_INET) + struct.pack('!H', port) + inet_aton(address) + bytes(8)

def v6(address, port):
    return struct.pack('=H', AF_INET6) + struct.pack('!HI', port, 0) + inet_pton(AF_INET6, address) + bytes(4)

def sendmmsg(made, destinations):
    """One octet to each; gives how many have left, or the errno's name."""
    kept = [ctypes.create_string_buffer(b'x', 1)]
    def at(content):
        kept.append(ctypes.create_string_buffer(content, len(content)))
        return ctypes.addressof(kept[-1])
    part = at(struct.pack('=QQ', ctypes.addressof(kept[0]), 1))
    # struct mmsghdr: struct msghdr and the length of what was sent.
    headers = b''.join(struct.pack('=QI4xQQQQi4xI4x', at(to), len(to), part, 1, 0, 0, 0, 0)
        for to in destinations)
    sent = libc.sendmmsg(made.fileno(), ctypes.c_void_p(at(headers)), len(destinations), 0)
    return sent if sent >= 0 else errno.errorcode[ctypes.get_errno()]
