"""Ten thousand domains, each with a certificate of its own, in the whole server."""
import base64, json, os, signal, socket, subprocess, time

from api_cases import UNLIMITED, Api
from cases import tiny_app
from crowds import resident, trusting
from peers import cpu
from platform_ import Platform

HERE = os.path.dirname(os.path.abspath(__file__))
# Runs where the test tools are: they bring a library that makes keys.
MAKER = '''import datetime, json, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
now = datetime.datetime.now(datetime.timezone.utc)
name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "bench")])
for n in range(int(sys.argv[1]), int(sys.argv[2])):
    key, host = ec.generate_private_key(ec.SECP256R1()), f"host-{n}.example.org"
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(n + 1)
    built = built.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(90))
    cert = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    print(json.dumps({"fqdn": host, "certificate": cert.public_bytes(pem).decode(), "key": private.decode()}))
'''
LIMITS = UNLIMITED | {"GIGALIXIR_LIMITS_DOMAINS_PER_APP": "20000"}
COUNTS = 10, 10_000


def shaken(pid, port, hosts):
    """CPU microseconds for one handshake, with each of these hosts."""
    context, before = trusting(), cpu(pid)
    for host in hosts:
        with socket.create_connection(("127.0.0.1", port)) as wire, context.wrap_socket(wire, server_hostname=host):
            pass
    time.sleep(0.2)
    return (cpu(pid) - before) / len(hosts) * 1e6


def again(platform):
    """Restarts the server; seconds until it is ready."""
    platform.process.send_signal(signal.SIGTERM)
    platform.process.wait()
    command = [platform.binary, "server", "--data-dir", platform.folder + "/data", "--api", "127.0.0.1:0", "--http", "127.0.0.1:0",
               "--https", "127.0.0.1:0", "--ssh", "127.0.0.1:0", "--stop-apps-on-exit"]
    begun = time.perf_counter()
    log = open(platform.folder + "/log", "w")
    platform.process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], "HOME": platform.home} | LIMITS, stderr=log)
    while "Ready: " not in (text := open(platform.folder + "/log").read()):
        if platform.process.poll() is not None or time.perf_counter() - begun > 120:
            raise SystemExit(text)
        time.sleep(0.005)
    took = time.perf_counter() - begun
    fields = next(json.loads(line)["fields"] for line in text.splitlines() if "api.address" in line)
    platform.api, platform.http, platform.https = (fields[f"{name}.address"] for name in ("api", "http", "https"))
    return took


def domains(binary):
    platform, have = Platform(binary, LIMITS), 0
    tiny_app(platform, "many")
    netrc = open(platform.home + "/.netrc").read().split()
    basic = base64.b64encode(f"{netrc[netrc.index('login') + 1]}:{netrc[netrc.index('password') + 1]}".encode()).decode()
    for count in COUNTS:
        api = Api(platform.api)
        maker = subprocess.Popen([os.path.join(HERE, "../../target/test-tools/bin/python"), "-c", MAKER, str(have), str(count)], stdout=subprocess.PIPE, text=True)
        for line in maker.stdout:
            wish = json.loads(line)
            api("POST", "/api/apps/many/domains", {"fqdn": wish["fqdn"], "check": False}, basic)
            begun = time.perf_counter()
            api("POST", "/api/apps/many/certs", wish, basic)
            last = time.perf_counter() - begun
        if maker.wait() != 0:
            raise SystemExit("the certificates cannot be made; tests/setup installs what makes them")
        have = count
        ready = again(platform)
        pid, port = platform.process.pid, int(platform.https.rsplit(":", 1)[1])
        cold = resident(pid)
        all_hosts = [f"host-{n}.example.org" for n in range(count)]
        first = shaken(pid, port, all_hosts)
        warm = resident(pid)
        later = shaken(pid, port, [all_hosts[n * 7919 % count] for n in range(5000)])
        name = f"{count:,} domains with certificates"
        yield f"{name}: start-up", f"{ready * 1000:.0f} ms", "–", "–", "–"
        yield f"{name}: memory at first, and when all have been used", f"{cold / 1024:.0f} and {warm / 1024:.0f} MB", "–", "–", "–"
        yield f"{name}: CPU of a host's first handshake, and of any later one", f"{first:.0f} and {later:.0f} µs", "–", "–", "does not grow"
        yield f"{name}: another certificate is taken in", f"{last * 1000:.0f} ms", "–", "–", "–"
    platform.stop()
