"""Runs a program in a terminal of 100 columns and 30 lines and does steps there, one after the other:
["expect", TEXT] waits for it, ["type", TEXT], ["resize", COLUMNS, ROWS], ["hang up"] ends it as a closed window does,
["end"] waits for the program's end.
Prints all that was shown; exits as the program did."""
import fcntl, json, os, pty, select, signal, struct, sys, termios, time

steps, program = json.loads(sys.argv[1]), sys.argv[2:]
sized, size = os.pipe()
child, terminal = pty.fork()
if child == 0:
    os.close(size)
    os.read(sized, 1)  # until the size is set
    os.execvp(program[0], program)


def resize(columns, rows):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


shown, seen, over = b"", 0, False


def listen(patience):
    global shown, over
    ready, _, _ = select.select([terminal], [], [], patience)
    if ready:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            data = b""
        over = over or not data
        shown += data
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


resize(100, 30)
os.close(size)
for step in steps:
    end = time.time() + 60
    if step[0] == "type":
        os.write(terminal, step[1].encode())
    elif step[0] == "hang up":
        os.kill(child, signal.SIGHUP)
    elif step[0] == "resize":
        resize(*step[1:])
    else:
        wanted = step[1].encode() if step[0] == "expect" else None
        while (shown.find(wanted, seen) < 0 if wanted else True) and not over and time.time() < end:
            listen(1)
        if wanted:
            found = shown.find(wanted, seen)
            if found < 0:
                print(f"\n--- {step[1]!r} did not come", flush=True)
                os.kill(child, signal.SIGKILL)
                sys.exit(99)
            seen = found + len(wanted)
while not over:
    listen(1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
