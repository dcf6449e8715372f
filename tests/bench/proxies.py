"""nginx, HAProxy and the gateway side by side, for scripts/bench."""

import contextlib
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time

MODES = ["full", "resumed", "h1", "h2", "h1-no-log", "h2-no-log", "down-64k", "down-10m", "up-64k", "up-10m", "rate"]
IDLE_MODES = ["idle-h1", "idle-h2"]
NO_LOG = "-no-log"
# Each with the Debian package that has it.
OTHERS = {"nginx": "nginx-light", "haproxy": "haproxy"}
GATEWAY = "cluster-gateway"
SEARCHED = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
# Seconds before the memory of idle connections is read, and before what is left of them is.
SETTLED, CLOSED = 2, 10

GATEWAY_CONFIG = """listen: 127.0.0.1:{port}
identity: {{ certificate: server.crt, key: server.key }}
trust: {{ bundle: cluster.crt, crl: cluster.crl }}
upstreams: {{ api: {{ url: "http://{upstream}" }} }}
routes: [{{ path: /v1/**, methods: [GET, POST], allow: [{{ role: api-user }}], upstream: api }}]
limits: {{ connections: 6000, connections_per_identity: 6000, connections_per_address: 6000, idle_timeout: 1h }}
access_log: {log}
threads: 1
"""

NGINX_CONFIG = """worker_processes 1;
{user}
daemon off;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log {log};
    client_max_body_size 64m;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    upstream api {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate server.crt;
        ssl_certificate_key server.key;
        ssl_client_certificate cluster.crt;
        ssl_crl cluster.crl;
        ssl_verify_client on;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:tls:10m;
        location / {{
            proxy_pass http://api;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header Client-Cert $ssl_client_escaped_cert;
            proxy_set_header X-Cluster-Name $ssl_client_s_dn;
            proxy_set_header X-Cluster-Serial $ssl_client_serial;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto https;
            proxy_set_header X-Request-Id $request_id;
        }}
    }}
}}
"""

HAPROXY_CONFIG = """global
    nbthread 1
    maxconn 8192
    tune.ssl.default-dh-param 2048
    {log}
defaults
    mode http
    log global
    option httplog
    timeout client 1h
    timeout server 1h
    timeout connect 5s
    timeout http-keep-alive 1h
    http-reuse always
frontend tls
    bind 127.0.0.1:{port} ssl crt server.pem ca-file cluster.crt crl-file cluster.crl verify required alpn h2,http/1.1
    unique-id-format %[uuid()]
    http-request set-header X-Request-Id %[unique-id]
    http-request set-header Client-Cert :%[ssl_c_der,base64]:
    http-request set-header X-Cluster-Name %[ssl_c_s_dn(CN)]
    http-request set-header X-Cluster-Serial %[ssl_c_serial,hex]
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https
    default_backend api
backend api
    server api {upstream}
"""

# Configuration, its value of `{log}` with and without an access log, and the command line.
PROXIES = {
    "nginx": (NGINX_CONFIG, "access.log", "off", ["nginx", "-p", ".", "-c", "config"]),
    "haproxy": (HAPROXY_CONFIG, "log stdout format raw local0", "", ["haproxy", "-db", "-f", "config"]),
    GATEWAY: (GATEWAY_CONFIG, "access.log", "off", [GATEWAY, "run", "--config", "config"]),
}


def which(program):
    return shutil.which(program, path=SEARCHED)


def cores():
    """The core of the proxies, and that of the load and the service."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise SystemExit("scripts/bench: comparing proxies needs two cores")
    return available[:2]


def pinned(core, *command):
    return ["taskset", "-c", str(core), *command]


def tree(process):
    """The process and its descendants."""
    found, todo = [], [process]
    while todo:
        process = todo.pop()
        found.append(process)
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{task}/children") as children:
                    todo += map(int, children.read().split())
    return found


def cpu(process):
    """Seconds that the threads of the process and of its descendants have run."""
    total = 0
    for one in tree(process):
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{task}/schedstat") as times:
                    total += int(times.read().split()[0])
    return total / 1e9


def memory(process):
    """KiB of memory that belong to the process and its descendants."""
    total = 0
    for one in tree(process):
        with contextlib.suppress(OSError), open(f"/proc/{one}/status") as status:
            total += sum(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))
    return total


class Proxy:
    """A proxy on its core, until it is stopped."""

    def __init__(self, name, home, programs, upstream, port, log=True):
        self.name, self.address = name, f"127.0.0.1:{port}"
        self.directory = os.path.join(home, f"{name}-{port}")
        shutil.copytree(os.path.join(home, "files"), self.directory)
        config, logs, silent, command = PROXIES[name]
        user = "user root;" if os.geteuid() == 0 else ""
        path = os.path.join(self.directory, "config")
        with open(path, "w") as file:
            file.write(config.format(port=port, upstream=upstream, log=logs if log else silent, user=user))
        os.chmod(path, 0o600)
        program = os.path.join(programs, name) if name == GATEWAY else which(name)
        self.output = open(os.path.join(self.directory, "output"), "w")
        self.process = subprocess.Popen(
            pinned(cores()[0], program, *command[1:]), cwd=self.directory, stdout=self.output, stderr=self.output
        )

    def wait(self, load):
        """Waits until it answers."""
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(LoadError):
                load.run("h1", self, 0.05)
                return
            time.sleep(0.1)
        with open(os.path.join(self.directory, "output")) as output:
            raise SystemExit(f"scripts/bench: {self.name} does not answer: {output.read()[-2000:]}")

    def stop(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        self.output.close()


class LoadError(Exception):
    """The load generator has ended early."""


class Load:
    """The load generator, and the service behind the proxies."""

    def __init__(self, program, home):
        self.program, self.files = program, os.path.join(home, "files")
        self.service = self.start("upstream", "127.0.0.1:0")
        self.upstream = self.service.stdout.readline().strip()

    def start(self, *arguments, **options):
        return subprocess.Popen(
            pinned(cores()[1], self.program, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            **options
        )

    def run(self, mode, proxy, seconds):
        """Figures of the requests of a mode, with the seconds of CPU time of the proxy and of the load's core."""
        arguments = ("run", mode.removesuffix(NO_LOG), proxy.address, self.files, str(seconds))
        with self.start(*arguments, stderr=subprocess.DEVNULL) as process:
            expect(process, "ready")
            generators = (process.pid, self.service.pid)
            before, busy = cpu(proxy.process.pid), sum(map(cpu, generators))
            proceed(process)
            line = process.stdout.readline()
            after, busy = cpu(proxy.process.pid), sum(map(cpu, generators)) - busy
            if not line:
                raise LoadError
            proceed(process)
        return {**json.loads(line), "cpu": after - before, "load_cpu": busy}

    def stop(self):
        self.service.stdin.close()
        self.service.wait()


def expect(process, line):
    if process.stdout.readline().strip() != line:
        raise LoadError


def proceed(process):
    process.stdin.write("\n")
    process.stdin.flush()


def certificates(home, programs):
    """A cluster of our own CA: all proxies use the same certificates."""
    files, cluster, ca = os.path.join(home, "files"), os.path.join(home, "cluster"), os.path.join(programs, "cluster-ca")
    os.mkdir(files)
    os.mkdir(cluster)
    # The load asks for the host `gateway`.
    control = ("create-control", "127.0.0.1", "--san", "gateway")
    for arguments in (("initialize", "bench"), control, ("create-api-user", "alice")):
        subprocess.run([ca, "--quiet", *arguments], cwd=cluster, check=True, stdout=subprocess.DEVNULL)
    for source, name in (
        ("cluster.crt", "cluster.crt"),
        ("cluster.crl", "cluster.crl"),
        ("issued/control-127.0.0.1.crt", "server.crt"),
        ("issued/control-127.0.0.1.key", "server.key"),
        ("issued/user-alice.crt", "client.crt"),
        ("issued/user-alice.key", "client.key"),
    ):
        shutil.copy(os.path.join(cluster, source), os.path.join(files, name))
    pem = os.path.join(files, "server.pem")
    with open(pem, "w") as file:
        for name in ("server.crt", "server.key"):
            with open(os.path.join(files, name)) as part:
                file.write(part.read())
    os.chmod(pem, 0o600)


@contextlib.contextmanager
def started(names, home, programs, load, first_port, log=True):
    proxies = []
    try:
        for number, name in enumerate(names):
            proxies.append(Proxy(name, home, programs, load.upstream, first_port + number, log))
        for proxy in proxies:
            proxy.wait(load)
        yield proxies
    finally:
        for proxy in proxies:
            proxy.stop()


def compare(home, programs, load_program, wanted, quick):
    """Runs the wanted modes, prints their figures, and returns them."""
    missing = [f"{name} (Debian: {package})" for name, package in OTHERS.items() if not which(name)]
    for name in missing:
        print(f"scripts/bench: NOT COMPARED: {name} is not installed", file=sys.stderr)
    names = [name for name in PROXIES if name == GATEWAY or which(name)]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    certificates(home, programs)
    load = Load(load_program, home)
    rounds, seconds, idle = (2, 1.0, 500) if quick else (6, 4.0, 4_000)
    results, memories = {}, {}
    try:
        for log, first_port in ((True, 18443), (False, 18453)):
            modes = [mode for mode in MODES if mode in wanted and mode.endswith(NO_LOG) != log]
            if modes:
                with started(names, home, programs, load, first_port, log) as proxies:
                    for mode in modes:
                        results[mode] = rounds_of(load, proxies, mode, rounds, seconds)
                        report(mode, results[mode])
        for number, mode in enumerate(mode for mode in IDLE_MODES if mode in wanted):
            # Memory that earlier requests have left would be used again: each mode has its own processes.
            with started(names, home, programs, load, 18463 + 10 * number) as proxies:
                memories[mode] = idle_memory(load, proxies, mode, idle)
    finally:
        load.stop()
    versions = {name: version(name, programs) for name in names}
    return {"base": names[0], "versions": versions, "missing": missing, "modes": results, "idle": memories}


def version(name, programs):
    command = [os.path.join(programs, name), "--version"] if name == GATEWAY else [which(name), "-v"]
    output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    return output.splitlines()[0]


def rounds_of(load, proxies, mode, rounds, seconds):
    samples = {proxy.name: [] for proxy in proxies}
    for number in range(rounds):
        for proxy in proxies if number % 2 == 0 else reversed(proxies):
            samples[proxy.name].append(load.run(mode, proxy, seconds))
    base = samples[proxies[0].name]
    return {name: figures(own, base) for name, own in samples.items()}


def figures(own, base):
    def each(sample):
        requests = max(sample["requests"], 1)
        return sample["cpu"] / requests, sample["requests"] / sample["seconds"]

    pairs = [(each(mine), each(theirs)) for mine, theirs in zip(own, base)]
    return {
        # Requests for the same CPU time: more is better, as with throughput.
        "per_cpu": spread([theirs[0] / mine[0] for mine, theirs in pairs]),
        "throughput": spread([mine[1] / theirs[1] for mine, theirs in pairs]),
        "cpu_us": statistics.median(mine[0] for mine, _ in pairs) * 1e6,
        "requests_per_second": statistics.median(mine[1] for mine, _ in pairs),
        "proxy_core": statistics.median(sample["cpu"] / sample["seconds"] for sample in own),
        "load_core": statistics.median(sample["load_cpu"] / sample["seconds"] for sample in own),
        "resumed": sum(sample["resumed"] for sample in own) / max(sum(sample["requests"] for sample in own), 1),
        "p50_us": statistics.median(sample["p50_us"] for sample in own),
        "p99_us": statistics.median(sample["p99_us"] for sample in own),
    }


def spread(values):
    return {"minimum": min(values), "median": statistics.median(values), "maximum": max(values)}


def report(mode, result):
    for name, of in result.items():
        ratios = [f"{of[key]['median']:5.2f} ({of[key]['minimum']:.2f} to {of[key]['maximum']:.2f})"
                  for key in ("per_cpu", "throughput")]
        bound = "*" if of["load_core"] > 0.9 else " "
        print(f"{mode:<10} {name:<16} requests per CPU time {ratios[0]}, throughput{bound} {ratios[1]}, "
              f"{of['cpu_us']:8.1f} us of CPU, p50 {of['p50_us']:.0f} us, p99 {of['p99_us']:.0f} us"
              + (f", {of['resumed']:.0%} resumed" if mode == "resumed" else ""), flush=True)


def idle_memory(load, proxies, mode, count):
    """KiB of each of `count` idle connections, and of each after they have closed."""
    before = [memory(proxy.process.pid) for proxy in proxies]
    clients = []
    try:
        for proxy in proxies:
            clients.append(load.start("idle", mode.removeprefix("idle-"), proxy.address, load.files, str(count)))
            expect(clients[-1], "open")
        time.sleep(SETTLED)
        held = [memory(proxy.process.pid) for proxy in proxies]
        for client in clients:
            proceed(client)
            expect(client, "closed")
        time.sleep(CLOSED)
        left = [memory(proxy.process.pid) for proxy in proxies]
        for client in clients:
            proceed(client)
            client.wait()
    finally:
        for client in clients:
            if client.poll() is None:
                client.send_signal(signal.SIGKILL)
                client.wait()
    result = {}
    for proxy, at_first, at_most, at_last in zip(proxies, before, held, left):
        one = {"held_kib": (at_most - at_first) / count, "left_kib": (at_last - at_first) / count}
        result[proxy.name] = one
        print(f"{mode:<10} {proxy.name:<16} {one['held_kib']:6.1f} KiB a connection, {one['left_kib']:6.1f} KiB of it "
              f"left {CLOSED} s after its end", flush=True)
    return result
