use super::{NOBODY, attacks};

attacks! {
    a_connected_datagram_stays_inside: NOBODY,
        "u = udp(); print(attempt(u.connect, ('192.0.2.7', 443)), attempt(u.send, b'x'))"
        => "ECONNREFUSED EDESTADDRREQ";
    a_connected_ipv6_datagram_stays_inside: NOBODY,
        "u = udp(AF_INET6); print(attempt(u.connect, ('2001:db8::7', 443)), attempt(u.send, b'x'))"
        => "ECONNREFUSED EDESTADDRREQ";
    a_connected_mapped_datagram_stays_inside: NOBODY,
        "u = udp(AF_INET6); print(attempt(u.connect, ('::ffff:192.0.2.7', 443)), attempt(u.send, b'x'))"
        => "ECONNREFUSED EDESTADDRREQ";
    a_datagram_stays_inside: NOBODY,
        "print(attempt(udp().sendto, b'x', ('192.0.2.7', 443)))" => "ECONNREFUSED";
    an_ipv6_datagram_stays_inside: NOBODY,
        "print(attempt(udp(AF_INET6).sendto, b'x', ('2001:db8::7', 443)))" => "ECONNREFUSED";
    a_mapped_datagram_stays_inside: NOBODY,
        "print(attempt(udp(AF_INET6).sendto, b'x', ('::ffff:192.0.2.7', 443)))" => "ECONNREFUSED";
    a_datagram_past_its_connection_stays_inside: NOBODY,
        "u = udp(); print(attempt(u.connect, ('192.0.2.53', 53)), \
         attempt(u.sendto, b'x', ('192.0.2.7', 443)))" => "ok ECONNREFUSED";
    an_ipv6_datagram_past_its_connection_stays_inside: NOBODY,
        "u = udp(AF_INET6); print(attempt(u.connect, ('2001:db8::53', 53)), \
         attempt(u.sendto, b'x', ('2001:db8::7', 443)))" => "ok ECONNREFUSED";
    many_datagrams_at_once_stay_inside: NOBODY,
        concat!(include_str!("../sendmmsg.py"),
            "print(sendmmsg(udp(), [v4('192.0.2.7', 443), v4('192.0.2.8', 443)]))") => "ECONNREFUSED";
    a_datagram_behind_a_query_stays_inside: NOBODY,
        concat!(include_str!("../sendmmsg.py"),
            "print(sendmmsg(udp(), [v4('192.0.2.53', 53), v4('192.0.2.7', 443)]))") => "1";
    many_ipv6_datagrams_at_once_stay_inside: NOBODY,
        concat!(include_str!("../sendmmsg.py"),
            "print(sendmmsg(udp(AF_INET6), [v6('2001:db8::7', 443), v6('2001:db8::8', 443)]))")
        => "ECONNREFUSED";
    a_datagram_in_segments_stays_inside: NOBODY,
        "u = udp(); u.setsockopt(17, 103, 1000); print(attempt(u.sendto, bytes(3000), ('192.0.2.7', 443)))"
        => "ECONNREFUSED";
    an_ipv6_datagram_in_segments_stays_inside: NOBODY,
        "u = udp(AF_INET6); u.setsockopt(17, 103, 1000); \
         print(attempt(u.sendto, bytes(3000), ('2001:db8::7', 443)))" => "ECONNREFUSED";
    a_datagram_in_fragments_stays_inside: NOBODY,
        "print(attempt(udp().sendto, bytes(9000), ('192.0.2.7', 443)))" => "ECONNREFUSED";
    an_ipv6_datagram_in_fragments_stays_inside: NOBODY,
        "print(attempt(udp(AF_INET6).sendto, bytes(9000), ('2001:db8::7', 443)))" => "ECONNREFUSED";
    a_bound_datagram_stays_inside: NOBODY,
        "u = udp(); u.bind(('10.99.0.1', 4242)); print(attempt(u.sendto, b'x', ('192.0.2.7', 443)))"
        => "ECONNREFUSED";
    an_io_uring_datagram_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "u = ring.run(OP_SOCKET, AF_INET, off=SOCK_DGRAM); \
             t = ring.run(OP_SOCKET, AF_INET, off=SOCK_DGRAM)\n\
             print(ring.run(OP_SENDMSG, u, addr=message(v4, 16), length=1), \
             ring.run(OP_SENDMSG, t, addr=message(v4, 16), length=1, flags=ASYNC))") => "-111 -111";
    an_ipv6_io_uring_datagram_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "u = ring.run(OP_SOCKET, AF_INET6, off=SOCK_DGRAM)\n\
             print(ring.run(OP_SENDMSG, u, addr=message(v6, 28), length=1))") => "-111";
    a_datagram_by_io_urings_own_thread_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "p = Ring(POLLED); u = p.run(OP_SOCKET, AF_INET, off=SOCK_DGRAM)\n\
             print(p.run(OP_SENDMSG, u, addr=message(v4, 16), length=1))") => "-111";
    an_io_uring_send_to_an_address_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "u = ring.run(OP_SOCKET, AF_INET, off=SOCK_DGRAM)\n\
             print(ring.run(OP_SEND, u, off=v4, addr=kept(b'x'), length=1, slot=16))") => "-111";
    an_ipv6_io_uring_send_to_an_address_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "u = ring.run(OP_SOCKET, AF_INET6, off=SOCK_DGRAM)\n\
             print(ring.run(OP_SEND, u, off=v6, addr=kept(b'x'), length=1, slot=28))") => "-111";
    an_io_uring_send_without_a_copy_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "u = ring.run(OP_SOCKET, AF_INET, off=SOCK_DGRAM)\n\
             print(ring.run(OP_SEND_ZC, u, off=v4, addr=kept(b'x'), length=1, slot=16))") => "-111";
    an_ipv6_io_uring_send_without_a_copy_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "u = ring.run(OP_SOCKET, AF_INET6, off=SOCK_DGRAM)\n\
             print(ring.run(OP_SEND_ZC, u, off=v6, addr=kept(b'x'), length=1, slot=28))") => "-111";
    a_device_bound_datagram_stays_inside: NOBODY,
        "u = udp(); print(attempt(u.setsockopt, SOL_SOCKET, 25, b'up0\\0'), \
         attempt(u.sendto, b'x', ('192.0.2.53', 53)))" => "EPERM ok";
    a_device_bound_ipv6_datagram_stays_inside: NOBODY,
        "u = udp(AF_INET6); print(attempt(u.setsockopt, SOL_SOCKET, 25, b'up0\\0'), \
         attempt(u.sendto, b'x', ('2001:db8::53', 53)))" => "EPERM ok";
    a_unicast_interface_stays_inside: NOBODY,
        "u = udp(); i = struct.pack('!I', if_nametoindex('up0')); \
         print(attempt(u.setsockopt, 0, 50, i), attempt(u.sendto, b'x', ('192.0.2.53', 53)))"
        => "EPERM ok";
    an_ipv6_unicast_interface_stays_inside: NOBODY,
        "u = udp(AF_INET6); i = struct.pack('!I', if_nametoindex('up0')); \
         print(attempt(u.setsockopt, 41, 76, i), attempt(u.sendto, b'x', ('2001:db8::53', 53)))"
        => "EPERM ok";
    a_sticky_packet_info_stays_inside: NOBODY,
        "u = udp(AF_INET6); i = struct.pack('16sI', bytes(16), if_nametoindex('up0')); \
         print(attempt(u.setsockopt, 41, 50, i), attempt(u.sendto, b'x', ('2001:db8::53', 53)))"
        => "EPERM ok";
    packet_info_stays_inside: NOBODY,
        "u = udp(); i = struct.pack('=I4s4s', if_nametoindex('up0'), bytes(4), bytes(4)); \
         print(attempt(u.sendmsg, [b'x'], [(0, 8, i)], 0, ('192.0.2.53', 53)))" => "EPERM";
    ipv6_packet_info_stays_inside: NOBODY,
        "u = udp(AF_INET6); i = struct.pack('16sI', bytes(16), if_nametoindex('up0')); \
         print(attempt(u.sendmsg, [b'x'], [(41, 50, i)], 0, ('2001:db8::53', 53)))" => "EPERM";
    an_ipv6_scope_stays_inside: NOBODY,
        "print(attempt(udp(AF_INET6).sendto, b'x', ('ff02::fb', 53, 0, if_nametoindex('up0'))))"
        => "EPERM";
    a_mark_in_a_control_message_stays_inside: None,
        "u = udp(); print(attempt(u.sendmsg, [b'x'], [(SOL_SOCKET, 36, struct.pack('=I', 7))], 0, \
         ('192.0.2.53', 53)))" => "ok";
    options_in_a_control_message_stay_inside: None,
        "u = udp(); r = bytes([131, 7, 4]) + inet_aton('10.99.0.2') + b'\\0'; \
         print(attempt(u.sendmsg, [b'x'], [(0, 7, r)], 0, ('192.0.2.53', 53)))" => "EPERM";
    an_ipv6_routing_header_in_a_control_message_stays_inside: None,
        "u = udp(AF_INET6); r = bytes([0, 2, 2, 1, 0, 0, 0, 0]) + inet_pton(AF_INET6, 'fd99::2'); \
         seen = attempt(u.sendmsg, [b'x'], [(41, 57, r)], 0, ('2001:db8::53', 53)); \
         print('absent' if seen == 'EINVAL' else seen)" => "EPERM";
    ipv6_destination_options_in_a_control_message_stay_inside: None,
        "u = udp(AF_INET6); print(attempt(u.sendmsg, [b'x'], \
         [(41, 59, bytes([0, 0, 1, 4, 0, 0, 0, 0]))], 0, ('2001:db8::53', 53)))" => "EPERM";
    ipv6_hop_by_hop_options_in_a_control_message_stay_inside: None,
        "u = udp(AF_INET6); print(attempt(u.sendmsg, [b'x'], \
         [(41, 54, bytes([0, 0, 1, 4, 0, 0, 0, 0]))], 0, ('2001:db8::53', 53)))" => "EPERM";
    multicast_stays_inside: NOBODY,
        "print(attempt(udp().sendto, b'x', ('239.1.2.3', 9)))" => "ECONNREFUSED";
    ipv6_multicast_stays_inside: NOBODY,
        "u = udp(AF_INET6); print(attempt(u.sendto, b'x', ('ff05::9', 9, 0, if_nametoindex('up0'))))"
        => "ECONNREFUSED";
    a_query_to_a_group_stays_inside: NOBODY,
        "u = udp(); u.setsockopt(0, 32, inet_aton('10.99.0.1')); \
         print(attempt(u.sendto, b'x', ('239.1.2.3', 53)))" => "ok";
    an_ipv6_query_to_a_group_stays_inside: NOBODY,
        "u = udp(AF_INET6); u.setsockopt(41, 17, if_nametoindex('up0')); \
         print(attempt(u.sendto, b'x', ('ff05::9', 53)))" => "ok";
    udp_lite_stays_inside: NOBODY,
        "def lite():\n    u = socket(AF_INET, SOCK_DGRAM, 136); u.connect(('192.0.2.7', 9)); u.send(b'x')\n\
         print(attempt(lite))" => "EPROTONOSUPPORT";
    ipv6_udp_lite_stays_inside: NOBODY,
        "def lite():\n    u = socket(AF_INET6, SOCK_DGRAM, 136); u.connect(('2001:db8::7', 9)); u.send(b'x')\n\
         print(attempt(lite))" => "EPROTONOSUPPORT";
    a_ping_socket_stays_inside: NOBODY,
        "def ping(): socket(AF_INET, SOCK_DGRAM, 1).sendto(b'\\x08' + bytes(7), ('192.0.2.7', 0))\n\
         print(attempt(ping))" => "EPROTONOSUPPORT";
    an_ipv6_ping_socket_stays_inside: NOBODY,
        "def ping(): socket(AF_INET6, SOCK_DGRAM, 58).sendto(b'\\x80' + bytes(7), ('2001:db8::7', 0))\n\
         print(attempt(ping))" => "EPROTONOSUPPORT";
    a_raw_socket_stays_inside: None,
        "def raw(): socket(AF_INET, SOCK_RAW, 17).sendto(bytes([0, 9, 0, 9, 0, 8, 0, 0]), ('192.0.2.7', 0))\n\
         print(attempt(raw))" => "EPROTONOSUPPORT";
    an_ipv6_raw_socket_stays_inside: None,
        "def raw(): socket(AF_INET6, SOCK_RAW, 17).sendto(bytes([0, 9, 0, 9, 0, 8, 0, 0]), ('2001:db8::7', 0))\n\
         print(attempt(raw))" => "EPROTONOSUPPORT";
    a_raw_socket_with_its_own_header_stays_inside: None,
        "def raw():\n    s = socket(AF_INET, SOCK_RAW, 255)\n    \
         s.sendto(struct.pack('!BBHHHBBH4s4s', 69, 0, 20, 1, 0, 64, 17, 0, inet_aton('10.99.0.1'), \
         inet_aton('192.0.2.7')), ('192.0.2.7', 0))\n\
         print(attempt(raw))" => "EPROTONOSUPPORT";
    an_io_uring_packet_of_another_protocol_stays_inside: None,
        concat!(include_str!("../uring.py"),
            "r = ring.run(OP_SOCKET, AF_INET, off=SOCK_RAW, length=17); \
             attempt(lambda: socket(fileno=r).sendto(bytes([0, 9, 0, 9, 0, 8, 0, 0]), ('192.0.2.7', 0))) \
             if r > 0 else 0; print(r if r < 0 else 'made')") => "-93";
}
