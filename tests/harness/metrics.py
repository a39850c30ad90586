"""A metrics server (metrics.k8s.io/v1beta1) for a cluster that has none: what its kubelets count, told pod by pod.

metrics.py ADDRESS PORT CERT KEY KUBECONFIG LOG
Each list is a line in LOG, JSON.
"""
import json, ssl, subprocess, sys, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

address, port, cert, key, kubeconfig, log = sys.argv[1:]
log = open(log, "a", buffering=1)
VERSION = "metrics.k8s.io/v1beta1"
RESOURCES = {
    "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": VERSION,
    "resources": [{"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}],
}


def kubectl(*arguments):
    ran = subprocess.run(["kubectl", "--kubeconfig", kubeconfig, "get", *arguments], stdout=subprocess.PIPE, check=True)
    return json.loads(ran.stdout)


def container(counted):
    usage = {"cpu": f"{counted['cpu']['usageNanoCores']}n", "memory": f"{counted['memory']['workingSetBytes'] // 1024}Ki"}
    return {"name": counted["name"], "usage": usage}


def metrics(namespace, selector):
    counted = {}
    for node in kubectl("nodes", "-o", "json")["items"]:
        summary = kubectl("--raw", f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary")
        for pod in summary["pods"]:
            counted[pod["podRef"]["uid"]] = pod.get("containers", [])
    where = ["-n", namespace] if namespace else ["-A"]
    for pod in kubectl("pods", *where, "-l", selector, "-o", "json")["items"]:
        meta = pod["metadata"]
        known = [one for one in counted.get(meta["uid"], []) if "usageNanoCores" in one.get("cpu", {}) and "workingSetBytes" in one.get("memory", {})]
        if known:
            kept = {name: meta[name] for name in ("name", "namespace", "labels", "creationTimestamp")}
            yield {"metadata": kept, "timestamp": known[0]["cpu"]["time"], "window": "10s", "containers": [container(one) for one in known]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        words = url.path.strip("/").split("/")[3:]
        if not url.path.startswith(f"/apis/{VERSION}"):
            return self.answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})
        if not words:
            return self.answer(200, RESOURCES)
        selector = dict(urllib.parse.parse_qsl(url.query)).get("labelSelector", "")
        items = list(metrics(words[1] if words[0] == "namespaces" else None, selector))
        log.write(json.dumps(items) + "\n")
        self.answer(200, {"kind": "PodMetricsList", "apiVersion": VERSION, "metadata": {}, "items": items})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer((address, int(port)), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
