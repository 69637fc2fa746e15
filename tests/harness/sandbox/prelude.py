import errno, os, select, socket, struct, sys, threading, time
from socket import *

def attempt(call, *arguments):
    """Makes a call; gives "ok" or the errno's name."""
    try:
        call(*arguments)
        return "ok"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))

def wait():
    """Until the test says so."""
    sys.stdin.readline()

def tcp(family=AF_INET):
    made = socket(family, SOCK_STREAM)
    made.settimeout(1.5)
    return made

def udp(family=AF_INET):
    made = socket(family, SOCK_DGRAM)
    made.settimeout(1.5)
    return made

def patient(made):
    """Waits for an answer that has to come, however busy the host is."""
    made.settimeout(15)
    return made
