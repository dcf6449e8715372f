"""Issuing by cluster-ca, openssl, easy-rsa and cfssl side by side, for scripts/bench."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time

MODES = ["one-user", "many-nodes"]
EASY_RSA = "/usr/share/easy-rsa"

EXTENSIONS = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth
subjectAltName=URI:spiffe://bench/api-user/name
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


def run(*command, cwd, **options):
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def timed(*commands, **options):
    begin = time.perf_counter()
    for command in commands:
        run(*command, **options)
    return time.perf_counter() - begin


class ClusterCa:
    name, package = "cluster-ca", None

    def __init__(self, work, programs):
        self.work, self.program = work, os.path.join(programs, self.name)
        run(self.program, "initialize", "bench", cwd=work)

    def issue(self, number):
        return timed((self.program, "create-api-user", f"user{number}"), cwd=self.work)


class OpenSsl:
    """Key, request and certificate, each by one process."""

    name, package = "openssl", "openssl"

    @staticmethod
    def is_installed():
        return shutil.which("openssl")

    def __init__(self, work):
        self.work = work
        with open(os.path.join(work, "leaf.cnf"), "w") as leaf:
            leaf.write(EXTENSIONS)

    def issue(self, number):
        name = f"other{number}"
        return timed(
            ("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key"),
            ("openssl", "req", "-new", "-key", f"{name}.key", "-subj", f"/CN=user-{name}", "-out", f"{name}.csr"),
            ("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "cluster.crt", "-CAkey", "cluster.key",
             "-days", "90", "-extfile", "leaf.cnf", "-out", f"{name}.crt"),
            cwd=self.work,
        )


class EasyRsa:
    """A CA of its own, with an index of text."""

    name, package = "easy-rsa", "easy-rsa"

    @staticmethod
    def is_installed():
        return os.path.exists(os.path.join(EASY_RSA, "easyrsa"))

    def __init__(self, work):
        self.program = os.path.join(EASY_RSA, "easyrsa")
        environment = {"EASYRSA": EASY_RSA, "EASYRSA_PKI": os.path.join(work, "pki"), "EASYRSA_BATCH": "1",
                       "EASYRSA_ALGO": "ec", "EASYRSA_CURVE": "prime256v1"}
        self.options = {"cwd": work, "env": {**os.environ, **environment}}
        run(self.program, "init-pki", **self.options)
        run(self.program, "build-ca", "nopass", **self.options)

    def issue(self, number):
        return timed((self.program, "build-client-full", f"user{number}", "nopass"), **self.options)


class Cfssl:
    """Key and certificate as JSON, by one process that keeps nothing."""

    name, package = "cfssl", "golang-cfssl"

    @staticmethod
    def is_installed():
        return shutil.which("cfssl")

    def __init__(self, work):
        self.work = work
        with open(os.path.join(work, "csr.json"), "w") as file:
            json.dump({"CN": "user", "key": {"algo": "ecdsa", "size": 256}}, file)

    def issue(self, _):
        return timed(("cfssl", "gencert", "-ca", "cluster.crt", "-ca-key", "cluster.key", "csr.json"), cwd=self.work)


OTHERS = [OpenSsl, EasyRsa, Cfssl]


def compare(home, programs, wanted, runs, count, repetitions):
    """Runs the wanted modes, prints their figures, and returns them."""
    work, results = os.path.join(home, "issuing"), {"missing": []}
    os.mkdir(work)
    ours = ClusterCa(work, programs)
    if "one-user" in wanted:
        for other in OTHERS:
            if not other.is_installed():
                results["missing"].append(f"{other.name} (Debian: {other.package})")
                print(f"scripts/bench: NOT COMPARED: {results['missing'][-1]} is not installed", file=sys.stderr)
        results["one-user"] = one_user([ours, *(other(work) for other in OTHERS if other.is_installed())], runs)
    if "many-nodes" in wanted:
        results["many-nodes"] = many_nodes(ours, work, count, repetitions)
    return results


def one_user(programs, runs):
    samples = {program.name: [] for program in programs}
    for number in range(runs + 2):
        for program in programs if number % 2 == 0 else reversed(programs):
            seconds = program.issue(number)
            if number >= 2:  # the first two warm the caches
                samples[program.name].append(seconds)
    base = samples[programs[0].name]
    results = {}
    for name, own in samples.items():
        ratios = sorted(mine / ours for mine, ours in zip(own, base))
        one = {"seconds": statistics.median(own),
               "of_cluster_ca": {"minimum": ratios[0], "median": statistics.median(ratios), "maximum": ratios[-1]}}
        results[name] = one
        print(f"one-user   {name:<16} {one['seconds'] * 1e3:7.1f} ms, {one['of_cluster_ca']['median']:5.2f} of "
              f"cluster-ca ({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True)
    return results


def many_nodes(ours, work, count, repetitions):
    rates = []
    for number in range(repetitions):
        arguments = ("create-node", "--count", str(count), "--output", f"nodes{number}")
        rates.append(count / timed((ours.program, *arguments), cwd=work))
    print(f"many-nodes {ours.name:<16} {statistics.median(rates):.0f} durable certificates a second ({min(rates):.0f} to "
          f"{max(rates):.0f}; {count} in one command, {len(os.sched_getaffinity(0))} cores)", flush=True)
    return {"minimum": min(rates), "median": statistics.median(rates), "maximum": max(rates), "count": count}
