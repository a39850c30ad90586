"""Side-by-side measurements. Each prints one Markdown row: what, ours, the peer's, the ratio, what is asked."""
import os, sys

import api_cases, cases, docker_cases, domains, hot, kubernetes, router_cases, ssh

NAMES = {
    "push-to-live": cases.push_to_live,
    "big-push": cases.big_push,
    "idle": cases.idle,
    "deploys-under-load": cases.deploys_under_load,
    "apps-command": api_cases.apps_command,
    "api-load": api_cases.api_load,
    "ssh": ssh.ssh,
    "router": router_cases.router,
    "domains": domains.domains,
    "deploys-visitors": router_cases.deploys_visitors,
    "hot": hot.hot,
    "docker-deploy": docker_cases.docker_deploy,
    "many-apps": docker_cases.many_apps,
    "kubernetes": kubernetes.config_change,
}

if __name__ == "__main__":
    binary, *names = sys.argv[1:]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    print("| measured | gigalixir | peer | ratio | asked |\n|---|---|---|---|---|", flush=True)
    for name in names or [name for name in NAMES if name not in ("kubernetes", "many-apps")]:
        for row in NAMES[name](os.path.abspath(binary)):
            print("| " + " | ".join(row) + " |", flush=True)
