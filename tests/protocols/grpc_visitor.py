"""A gRPC client over TLS: HTTPS-PORT ROOT HOST."""
import queue, sys, threading, time

import grpc

port, root, host = sys.argv[1:]
channel = grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(open(root, "rb").read()), options=[
    ("grpc.ssl_target_name_override", host), ("grpc.default_authority", f"{host}:{port}"), ("grpc.max_receive_message_length", 64 << 20)])
one, down, up, talk = (make(f"/test.Test/{name}") for make, name in [
    (channel.unary_unary, "One"), (channel.unary_stream, "Down"), (channel.stream_unary, "Up"), (channel.stream_stream, "Talk")])

answer, call = one.with_call(b"hello", timeout=20)
assert answer == b"hello" and dict(call.trailing_metadata())["x-length"] == "5", call.trailing_metadata()
seen = one(b"who", timeout=20, metadata=(("x-mine", "1"),)).decode()
assert "('x-forwarded-proto', 'https')" in seen and "('x-mine', '1')" in seen and "'x-request-id'" in seen, seen
try:
    one(b"fail", timeout=20)
    raise AssertionError("it did not fail")
except grpc.RpcError as error:
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "as asked"), error
large = b"x" * (16 << 20)
assert one(large, timeout=60) == large, "16 MiB both ways"
assert [text.split(b".")[0] for text in down(b"5000", timeout=60)] == [b"%d" % n for n in range(5000)]
assert up((b"x" * 100_000 for _ in range(100)), timeout=60) == b"10000000"

words = queue.Queue()
answers = talk(iter(words.get, None), timeout=60)
for n in range(200):
    words.put(b"%d" % n)
    assert next(answers) == b"%d" % n, "each before the next is said"
words.put(None)
assert list(answers) == []

# A reader who is slow, and one who leaves.
slow = down(b"20000", timeout=60)
next(slow), time.sleep(1)
assert sum(1 for _ in slow) == 19_999
leaving = down(b"100000000")
next(leaving), leaving.cancel()

# Many at once over one connection.
failed = []
def busy():
    for n in range(50):
        if one(b"%d" % n, timeout=20) != b"%d" % n:
            failed.append(n)
threads = [threading.Thread(target=busy) for _ in range(20)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
assert not failed, failed
print("done")
