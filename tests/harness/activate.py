"""Does what a systemd socket unit does: holds the socket called `http` and starts the server again whenever it ends.
Prints the socket's port first. Ends, with the server, when its standard input closes."""
import os, signal, socket, sys, threading

listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
print(listener.getsockname()[1], flush=True)
child = 0
ending = False


def end():
    global ending
    sys.stdin.read()
    ending = True
    os.kill(child, signal.SIGKILL)


while not ending:
    child = os.fork()
    if child == 0:
        os.dup2(listener.fileno(), 3)
        os.set_inheritable(3, True)
        env = os.environ | {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "http", "LISTEN_PID": str(os.getpid())}
        os.execve(sys.argv[1], sys.argv[1:], env)
    if threading.active_count() == 1:
        threading.Thread(target=end, daemon=True).start()
    os.waitpid(child, 0)
