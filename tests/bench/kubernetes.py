"""On a real cluster: a config change, from the command to the new release serving, beside `kubectl set env` and `kubectl
rollout status` of an equal Deployment; and what visitors see of either meanwhile."""
import http.client, json, os, statistics, subprocess, tempfile, threading, time

from platform_ import Platform

# As the tests make it.
IMAGE = subprocess.run(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "gigalixir/debian-12:test-*"],
                       capture_output=True, text=True).stdout.split("\n")[0]
SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../harness/server.py")
TIMES = 7


def kubectl(*args, input=None):
    return subprocess.run(["kubectl", "--kubeconfig", kubeconfig(), *args], input=input, check=True,
                          capture_output=True, text=True).stdout


def kubeconfig():
    return os.environ.get("GIGALIXIR_TEST_KUBECONFIG", "/var/lib/test-cluster/admin.kubeconfig")


class Visitors:
    """Four who come one request after the other, each on a connection of its own; counts what fails."""

    def __init__(self, address, host):
        self.address, self.host, self.stopped, self.served, self.failed = address, host, False, 0, 0
        self.threads = [threading.Thread(target=self.visit, daemon=True) for _ in range(4)]
        [thread.start() for thread in self.threads]

    def visit(self):
        host, port = self.address.rsplit(":", 1)
        while not self.stopped:
            try:
                connection = http.client.HTTPConnection(host, int(port), timeout=10)
                connection.request("GET", "/", headers={"Host": self.host})
                answer = connection.getresponse()
                answer.read()
                connection.close()
                ok = answer.status == 200
            except OSError:
                ok = False
            self.served, self.failed = self.served + ok, self.failed + (not ok)
            time.sleep(0.005)

    def stop(self):
        self.stopped = True
        [thread.join() for thread in self.threads]
        return f"{self.failed} of {self.served + self.failed} requests failed"


def timed(change):
    """Median seconds of a change, done again and again."""
    taken = []
    for number in range(TIMES):
        begun = time.monotonic()
        change(number)
        taken.append(time.monotonic() - begun)
        time.sleep(2)
    return statistics.median(taken)


def peer(namespace):
    """An equal Deployment that is nobody's but kubectl's, and its Service."""
    ours = json.loads(kubectl("get", "deployments", "-n", namespace, "-o", "json"))["items"][-1]
    workload = ours["metadata"]["labels"]["gigalixir.workload"]
    # Of its own, for ours go with their generation.
    secret = json.loads(kubectl("get", "secret", workload + "-start", "-n", namespace, "-o", "json"))
    secret["metadata"] = {"name": "peer-start"}
    kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(secret))
    spec, labels = json.loads(json.dumps(ours["spec"]).replace(f'"{workload}', '"peer')), {"bench": "peer"}
    spec["selector"] = {"matchLabels": labels}
    spec["template"]["metadata"] = {"labels": labels}
    del spec["template"]["spec"]["topologySpreadConstraints"]
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "peer"}, "spec": spec}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "peer"},
               "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 4000, "protocol": "TCP"}]}}
    for one in (deployment, service):
        kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(one))
    kubectl("rollout", "status", "deployment/peer", "-n", namespace, "--timeout=120s")
    return kubectl("get", "service", "peer", "-n", namespace, "-o", "jsonpath={.spec.clusterIP}") + ":80"


def config_change(binary):
    stacks = tempfile.mkdtemp(prefix="gigalixir-bench-stacks-")
    open(stacks + "/debian-12.toml", "w").write(f'run = "{IMAGE}"\nbuild = "{IMAGE}"\n')
    prefix = f"bench{os.getpid()}-"
    settings = {"GIGALIXIR_RUNTIME": "kubernetes", "GIGALIXIR_KUBERNETES_KUBECONFIG": kubeconfig(),
                "GIGALIXIR_KUBERNETES_NAMESPACE_PREFIX": prefix, "GIGALIXIR_DOCKER_STACKS_DIR": stacks}
    platform = Platform(binary, settings, api="0.0.0.0:0")
    try:
        project = platform.home + "/shop"
        os.mkdir(project)
        subprocess.run(["cp", SERVER, project], check=True)
        open(project + "/Procfile", "w").write("web: python3 -u server.py\n")
        open(project + "/greeting.txt", "w").write("hello")
        for words in (["init", "-q", "-b", "master"], ["add", "-A"], ["commit", "-q", "-m", "x"]):
            subprocess.run(["git", *words], cwd=project, env=platform.env, check=True)
        platform.client("create", "-n", "shop", cwd=project)
        subprocess.run(["git", "push", "-q", "gigalixir", "master"], cwd=project, env=platform.env, check=True)

        visitors = Visitors(platform.http, "shop.localhost")
        ours = timed(lambda number: platform.client("config:set", f"NUMBER={number}", cwd=project))
        ours_failed = visitors.stop()
        namespace = prefix + "shop"
        visitors = Visitors(peer(namespace), "shop.localhost")

        def change(number):
            kubectl("set", "env", "deployment/peer", f"NUMBER={number}", "-n", namespace)
            kubectl("rollout", "status", "deployment/peer", "-n", namespace, "--timeout=120s")

        theirs = timed(change)
        theirs_failed = visitors.stop()
    finally:
        kubectl("delete", "namespace", prefix + "shop", "--ignore-not-found", "--wait=false")
        platform.stop()
    return [
        ["config change on Kubernetes", f"{ours:.2f} s", f"kubectl {theirs:.2f} s", f"{ours / theirs:.2f}", "at most 1.15"],
        ["visitors meanwhile", ours_failed, theirs_failed, "", "0 failed"],
    ]
