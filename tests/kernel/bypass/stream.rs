use super::{NOBODY, attacks};

attacks! {
    a_plain_connect_stays_inside: NOBODY,
        "print(attempt(tcp().connect, ('192.0.2.7', 80)))" => "ok";
    a_plain_ipv6_connect_stays_inside: NOBODY,
        "print(attempt(tcp(AF_INET6).connect, ('2001:db8::7', 80)))" => "ok";
    a_mapped_connect_stays_inside: NOBODY,
        "print(attempt(tcp(AF_INET6).connect, ('::ffff:192.0.2.7', 80)))" => "ok";
    a_connect_that_does_not_wait_stays_inside: NOBODY,
        "s = tcp(); s.setblocking(False); print(attempt(s.connect, ('192.0.2.7', 80))); \
         select.select([], [s], [], 1.5); print(s.getsockopt(SOL_SOCKET, SO_ERROR))"
        => "EINPROGRESS\n0";
    an_ipv6_connect_that_does_not_wait_stays_inside: NOBODY,
        "s = tcp(AF_INET6); s.setblocking(False); print(attempt(s.connect, ('2001:db8::7', 80))); \
         select.select([], [s], [], 1.5); print(s.getsockopt(SOL_SOCKET, SO_ERROR))"
        => "EINPROGRESS\n0";
    fast_open_by_sendto_stays_inside: NOBODY,
        "s = tcp(); s.settimeout(None); print(attempt(s.sendto, b'x', 0x20000000, ('192.0.2.7', 80)))"
        => "ok";
    ipv6_fast_open_by_sendto_stays_inside: NOBODY,
        "s = tcp(AF_INET6); s.settimeout(None); \
         print(attempt(s.sendto, b'x', 0x20000000, ('2001:db8::7', 80)))" => "ok";
    fast_open_by_connect_stays_inside: NOBODY,
        "s = tcp(); s.settimeout(None); s.setsockopt(IPPROTO_TCP, 30, 1); \
         print(attempt(s.connect, ('192.0.2.7', 80)), attempt(s.send, b'x'))" => "ok ok";
    ipv6_fast_open_by_connect_stays_inside: NOBODY,
        "s = tcp(AF_INET6); s.settimeout(None); s.setsockopt(IPPROTO_TCP, 30, 1); \
         print(attempt(s.connect, ('2001:db8::7', 80)), attempt(s.send, b'x'))" => "ok ok";
    a_second_connect_stays_inside: NOBODY,
        "import ctypes; s = tcp(); attempt(s.connect, ('192.0.2.7', 80)); \
         ctypes.CDLL(None).connect(s.fileno(), struct.pack('=H14x', 0), 16)\n\
         print(attempt(s.connect, ('192.0.2.8', 81)))" => "ok";
    a_second_ipv6_connect_stays_inside: NOBODY,
        "import ctypes; s = tcp(AF_INET6); attempt(s.connect, ('2001:db8::7', 80)); \
         ctypes.CDLL(None).connect(s.fileno(), struct.pack('=H26x', 0), 28)\n\
         print(attempt(s.connect, ('2001:db8::8', 81)))" => "ok";
    a_bound_source_stays_inside: NOBODY,
        "s = tcp(); s.bind(('10.99.0.1', 4242)); print(attempt(s.connect, ('192.0.2.7', 80)))" => "ok";
    a_bound_ipv6_source_stays_inside: NOBODY,
        "s = tcp(AF_INET6); s.bind(('fd99::1', 4242)); print(attempt(s.connect, ('2001:db8::7', 80)))"
        => "ok";
    a_source_without_a_port_stays_inside: NOBODY,
        "s = tcp(); s.setsockopt(0, 24, 1); s.bind(('10.99.0.1', 0)); \
         print(attempt(s.connect, ('192.0.2.7', 80)))" => "ok";
    an_ipv6_source_without_a_port_stays_inside: NOBODY,
        "s = tcp(AF_INET6); s.setsockopt(0, 24, 1); s.bind(('fd99::1', 0)); \
         print(attempt(s.connect, ('2001:db8::7', 80)))" => "ok";
    a_device_bound_socket_stays_inside: NOBODY,
        "s = tcp(); print(attempt(s.setsockopt, SOL_SOCKET, 25, b'up0\\0'), \
         attempt(s.connect, ('127.0.0.1', 80)))" => "EPERM ok";
    a_device_bound_ipv6_socket_stays_inside: NOBODY,
        "s = tcp(AF_INET6); print(attempt(s.setsockopt, SOL_SOCKET, 25, b'up0\\0'), \
         attempt(s.connect, ('2001:db8::7', 80)))" => "EPERM ok";
    an_interface_index_stays_inside: NOBODY,
        "s = tcp(); print(attempt(s.setsockopt, SOL_SOCKET, 62, if_nametoindex('up0')), \
         attempt(s.connect, ('127.0.0.1', 80)))" => "EPERM ok";
    a_transparent_socket_stays_inside: None,
        "s = tcp(); print(attempt(s.setsockopt, 0, 19, 1), attempt(s.bind, ('192.0.2.99', 0)), \
         attempt(s.connect, ('192.0.2.7', 80)))" => "EPERM EADDRNOTAVAIL ok";
    a_transparent_ipv6_socket_stays_inside: None,
        "s = tcp(AF_INET6); print(attempt(s.setsockopt, 41, 75, 1), \
         attempt(s.bind, ('2001:db8::99', 0)), attempt(s.connect, ('2001:db8::7', 80)))"
        => "EPERM EADDRNOTAVAIL ok";
    a_foreign_source_stays_inside: NOBODY,
        "s = tcp(); print(attempt(s.setsockopt, 0, 15, 1), attempt(s.bind, ('10.99.0.1', 0)), \
         attempt(s.connect, ('192.0.2.7', 80)))" => "EPERM ok ok";
    a_foreign_ipv6_source_stays_inside: NOBODY,
        "s = tcp(AF_INET6); print(attempt(s.setsockopt, 41, 78, 1), attempt(s.bind, ('fd99::1', 0)), \
         attempt(s.connect, ('2001:db8::7', 80)))" => "EPERM ok ok";
    a_mark_stays_inside: None,
        "s = tcp(); print(attempt(s.setsockopt, SOL_SOCKET, 36, 7), \
         attempt(s.connect, ('192.0.2.7', 80)))" => "EPERM ok";
    a_connection_without_a_handshake_stays_inside: None,
        "s = tcp(); print(attempt(s.setsockopt, 6, 19, 1)); s.bind(('10.99.0.1', 4243)); \
         attempt(s.connect, ('192.0.2.7', 80)); attempt(s.setsockopt, 6, 19, -1); \
         print(attempt(s.send, b'x'))" => "EPERM\nok";
    a_source_route_stays_inside: None,
        "s = tcp(); r = bytes([131, 7, 4]) + inet_aton('10.99.0.2') + b'\\0'; \
         print(attempt(s.setsockopt, 0, 4, r), attempt(s.connect, ('127.0.0.1', 80)))"
        => "EPERM ok";
    a_strict_source_route_stays_inside: None,
        "s = tcp(); r = bytes([137, 7, 4]) + inet_aton('10.99.0.2') + b'\\0'; \
         print(attempt(s.setsockopt, 0, 4, r), attempt(s.connect, ('127.0.0.1', 80)))"
        => "EPERM ok";
    an_ipv6_routing_header_stays_inside: NOBODY,
        "s = tcp(AF_INET6); r = bytes([0, 4, 4, 1, 1, 0, 0, 0]) + inet_pton(AF_INET6, '::') + \
         inet_pton(AF_INET6, 'fd99::2'); \
         print(attempt(s.setsockopt, 41, 57, r), attempt(s.connect, ('2001:db8::7', 80)))"
        => "EPERM ok";
    ipv6_destination_options_stay_inside: None,
        "s = tcp(AF_INET6); print(attempt(s.setsockopt, 41, 59, bytes([0, 0, 1, 4, 0, 0, 0, 0])), \
         attempt(s.connect, ('2001:db8::7', 80)))" => "EPERM ok";
    ipv6_hop_by_hop_options_stay_inside: None,
        "s = tcp(AF_INET6); print(attempt(s.setsockopt, 41, 54, bytes([0, 0, 1, 4, 0, 0, 0, 0])), \
         attempt(s.connect, ('2001:db8::7', 80)))" => "EPERM ok";
    multipath_tcp_stays_inside: NOBODY,
        "def multi(): s = socket(AF_INET, SOCK_STREAM, 262); s.settimeout(1); s.connect(('192.0.2.7', 80))\n\
         print(attempt(multi))" => "EPROTONOSUPPORT";
    ipv6_multipath_tcp_stays_inside: NOBODY,
        "def multi(): s = socket(AF_INET6, SOCK_STREAM, 262); s.settimeout(1); s.connect(('2001:db8::7', 80))\n\
         print(attempt(multi))" => "EPROTONOSUPPORT";
    an_io_uring_connect_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "s = ring.run(OP_SOCKET, AF_INET, off=SOCK_STREAM); \
             t = ring.run(OP_SOCKET, AF_INET, off=SOCK_STREAM)\n\
             print(ring.run(OP_CONNECT, s, off=16, addr=v4) in (0, -111), \
             ring.run(OP_CONNECT, t, off=16, addr=v4, flags=ASYNC) in (0, -111))")
        => "True True";
    an_ipv6_io_uring_connect_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "s = ring.run(OP_SOCKET, AF_INET6, off=SOCK_STREAM); \
             t = ring.run(OP_SOCKET, AF_INET6, off=SOCK_STREAM)\n\
             print(ring.run(OP_CONNECT, s, off=28, addr=v6) in (0, -111), \
             ring.run(OP_CONNECT, t, off=28, addr=v6, flags=ASYNC) in (0, -111))")
        => "True True";
    a_connect_by_io_urings_own_thread_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "p = Ring(POLLED); s = p.run(OP_SOCKET, AF_INET, off=SOCK_STREAM)\n\
             print(p.run(OP_CONNECT, s, off=16, addr=v4) in (0, -111))")
        => "True";
    an_ipv6_connect_by_io_urings_own_thread_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "p = Ring(POLLED); s = p.run(OP_SOCKET, AF_INET6, off=SOCK_STREAM)\n\
             print(p.run(OP_CONNECT, s, off=28, addr=v6) in (0, -111))")
        => "True";
    a_socket_without_a_descriptor_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "ring.reserve(2); print(ring.run(OP_SOCKET, AF_INET, off=SOCK_STREAM, slot=1), \
             ring.run(OP_CONNECT, 0, off=16, addr=v4, flags=DIRECT) in (0, -111))")
        => "0 True";
    an_ipv6_socket_without_a_descriptor_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "ring.reserve(2); print(ring.run(OP_SOCKET, AF_INET6, off=SOCK_STREAM, slot=1), \
             ring.run(OP_CONNECT, 0, off=28, addr=v6, flags=DIRECT) in (0, -111))")
        => "0 True";
    // Linux 6.7.
    a_device_chosen_by_io_uring_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "s = ring.run(OP_SOCKET, AF_INET, off=SOCK_STREAM)\n\
             r = ring.run(OP_COMMAND, s, off=SETSOCKOPT, addr=SOL_SOCKET | 25 << 32, slot=4, \
             extra=kept(b'up0\\0')); t = socket(fileno=s); t.settimeout(1)\n\
             print(r if r not in (-22, -95) else 'absent'); \
             sys.exit() if r in (-22, -95) else print(attempt(t.connect, ('127.0.0.1', 80)))")
        => "-1\nok";
    sctp_stays_inside: NOBODY,
        "def sctp(): s = socket(AF_INET, SOCK_STREAM, 132); s.settimeout(1); s.connect(('192.0.2.7', 80))\n\
         print(attempt(sctp))" => "EPROTONOSUPPORT";
    ipv6_sctp_stays_inside: NOBODY,
        "def sctp(): s = socket(AF_INET6, SOCK_SEQPACKET, 132); s.settimeout(1); s.sendto(b'x', ('2001:db8::7', 80))\n\
         print(attempt(sctp))" => "EPROTONOSUPPORT";
    dccp_stays_inside: NOBODY,
        "def dccp():\n    \
         s = socket(AF_INET, 6, 33); s.settimeout(1); s.setsockopt(269, 2, struct.pack('!I', 7)); \
         s.connect(('192.0.2.7', 80))\n\
         print(attempt(dccp))" => "EPROTONOSUPPORT";
}
