import ctypes
def redirected(family):
    """A socket that has been sent to the agent once, and is free to be used again."""
    made = udp(family)
    made.connect(('192.0.2.53' if family == AF_INET else '2001:db8::53', 53))
    # AF_UNSPEC: no longer connected, nor bound.
    ctypes.CDLL(None).connect(made.fileno(), bytes(28), 28)
    return made
