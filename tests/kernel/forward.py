# A namespace of our making, whose way out leads through ours.
import ctypes, subprocess
def ip(*words):
    subprocess.run(['ip', *words], check=True)
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert ctypes.CDLL(None).unshare(0x40000000) == 0
    os.write(ready[1], b'x')
    os.read(go[0], 1)
    for words in ('link set lo up', 'address add 10.98.0.2/24 dev in1', 'link set in1 up',
            'route add default via 10.98.0.1'):
        ip(*words.split())
    # Until the kernel has noticed the other end, a link swallows what is sent.
    while 'LOWER_UP' not in subprocess.run(['ip', 'link', 'show', 'in1'], capture_output=True, text=True).stdout:
        pass
    print(attempt(udp().sendto, b'x', ('192.0.2.7', 9)), flush=True)
    os._exit(0)
os.read(ready[0], 1)
ip('link', 'add', 'in0', 'type', 'veth', 'peer', 'name', 'in1')
ip('link', 'set', 'in1', 'netns', str(child))
ip('address', 'add', '10.98.0.1/24', 'dev', 'in0')
ip('link', 'set', 'in0', 'up')
open('/proc/sys/net/ipv4/ip_forward', 'w').write('1')
os.write(go[1], b'x')
os.waitpid(child, 0)
# It has gone with the namespace of its other end, or goes now.
subprocess.run(['ip', 'link', 'del', 'in0'], capture_output=True)
