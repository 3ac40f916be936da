#!/usr/bin/env python3
"""Boots a real NFS server and real NFS clients as virtual machines, for the tests of the lock.

    lab.py prepare CACHE             fetches Debian's kernel into CACHE, once
    lab.py up --cache CACHE DIR      boots srv, n1, n2; serves DIR/lab.sock; ends with its standard
                                     input, --ttl seconds later, or by `down`, and everything with it
    lab.py call DIR VERB ARG...      run NODE CMD..., kill NODE, start NODE, freeze NODE, thaw NODE,
                                     cut NODE, heal NODE, status, down

Each node has one processor, a kernel of its own, a host name of its own, and this machine's `/` as its
root, read-only; what is tmpfs in a node (/tmp, /run, /mnt) is found in /mnt/host as well, except that
/mnt/host is this machine's and read-only. `srv` exports an ext4 image, with sync; the others mount it at
/mnt/v3 and /mnt/v4. The nodes' network is a hub in this process: it is no part of the machine's network,
and a cable is cut by not forwarding. Commands travel over a serial port, which is never cut.

Processors are emulated unless this machine's processor virtualises in hardware: a /dev/kvm alone says
little, since one that works in software only (PVM) takes minutes where emulation takes seconds.
"""

import argparse
import ctypes
import glob
import json
import lzma
import os
import queue
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

ME = os.path.realpath(__file__)
SUBNET = "10.77.0."
PORT_OF_MOUNTD = 20048
# Seconds; NFSv4 state of a client that is gone lives this long, and a restarted server waits as long.
V4_LEASE_S = 15
PR_SET_PDEATHSIG = 1
HOST = "/mnt/host"
# Without AVX, which C libraries would use for every copy and emulation is slow at.
CPU = "qemu64,+rdrand,+ssse3,+sse4.1,+sse4.2,+popcnt"
IN_INITRAMFS = ["virtio_pci", "virtio_console", "virtio_net", "virtio_blk", "9p", "9pnet_virtio"]


def number(node):
    """The last byte of a node's addresses."""
    return 1 if node == "srv" else 10 + int(node[1:])


def sh(script):
    """Runs shell commands; an error includes their output."""
    ran = subprocess.run(["/bin/sh", "-exc", script], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if ran.returncode:
        raise RuntimeError(f"cannot set the node up because a command failed:\n{ran.stdout}{ran.stderr}")


# ---- the kernel ------------------------------------------------------------------------------------------


def prepare(cache):
    """Unpacks Debian's kernel into the cache and packs the few modules that find the root."""
    os.makedirs(cache, exist_ok=True)
    if glob.glob(f"{cache}/kernel-*/initramfs"):
        return
    depends = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=True)
    package = next(w for w in depends.stdout.split() if w.startswith("linux-image-") and w != "linux-image-amd64")
    work = f"{cache}/making.{os.getpid()}"
    os.makedirs(work)
    try:
        subprocess.run(["apt-get", "download", "-qq", package], cwd=work, check=True)
        [archive] = glob.glob(f"{work}/*.deb")
        subprocess.run(["dpkg", "-x", archive, work], check=True)
        os.remove(archive)
        [version] = os.listdir(f"{work}/lib/modules")
        subprocess.run(["depmod", "-b", work, version], check=True)
        with open(f"{work}/initramfs", "wb") as out:
            out.write(initramfs(f"{work}/lib/modules/{version}"))
        with open(f"{work}/vmlinux", "wb") as out:
            out.write(unpacked(read(f"{work}/boot/vmlinuz-{version}")))
        os.rename(work, f"{cache}/kernel-{version}")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def unpacked(image):
    """The kernel inside a bzImage: an emulated processor takes half a minute to unpack it."""
    setup = 512 * ((image[0x1F1] or 4) + 1)
    offset, length = struct.unpack_from("<II", image, 0x248)
    return lzma.LZMADecompressor().decompress(image[setup + offset : setup + offset + length])


INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /new
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
while read name; do /bin/busybox insmod /modules/$name || echo "insmod $name failed"; done </order
/bin/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144,cache=loose root /new || echo "no root"
/bin/busybox mount -t devtmpfs dev /new/dev
for word in $(/bin/busybox cat /proc/cmdline); do case $word in lab.start=*) start=${word#lab.start=};; esac; done
/bin/busybox umount /proc
exec /bin/busybox switch_root /new $(echo $start | /bin/busybox tr : ' ')
"""


def initramfs(modules):
    """A cpio archive with busybox, the modules in the order of their needs, and INIT."""
    needs = {}
    with open(f"{modules}/modules.dep") as lines:
        for line in lines:
            path, _, rest = line.partition(":")
            needs[os.path.basename(path).split(".")[0]] = [path, rest.split()]
    order = []

    def add(path):
        if path not in order:
            for need in needs[os.path.basename(path).split(".")[0]][1]:
                add(need)
            order.append(path)

    for name in IN_INITRAMFS:
        add(needs[name][0])
    out = bytearray()

    def entry(name, mode, data=b""):
        head = [len(out) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out.extend(b"070701" + b"".join(b"%08x" % n for n in head) + name.encode() + b"\0")
        out.extend(b"\0" * (-len(out) % 4))
        out.extend(data)
        out.extend(b"\0" * (-len(out) % 4))

    for folder in ["bin", "modules"]:
        entry(folder, 0o040755)
    entry("bin/busybox", 0o100755, read("/bin/busybox"))
    for path in order:
        entry("modules/" + os.path.basename(path), 0o100644, read(f"{modules}/{path}"))
    entry("order", 0o100644, "".join(os.path.basename(p) + "\n" for p in order).encode())
    entry("init", 0o100755, INIT.encode())
    entry("TRAILER!!!", 0)
    return bytes(out)


def read(path):
    with open(path, "rb") as file:
        return file.read()


# ---- inside a node ---------------------------------------------------------------------------------------


def node_main(node, modules, options):
    """Process 1 of a node: sets it up, starts the agent, and reaps dead processes."""
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.environ["HOME"] = "/tmp"
    # The program is under this machine's /, and /proc shows which port is ours.
    if os.fork():
        while True:
            try:
                os.wait()
            except ChildProcessError:
                time.sleep(1)
    os.setsid()
    sh("mount -t proc proc /proc; mount -t sysfs sysfs /sys")
    port = next(p for p in glob.glob("/sys/class/virtio-ports/*") if read(f"{p}/name").strip() == b"lab")
    line = os.open("/dev/" + os.path.basename(port), os.O_RDWR | os.O_NONBLOCK)
    lock = threading.Lock()

    def tell(message):
        data = json.dumps(message).encode() + b"\n"
        with lock:
            while data:
                select.select([], [line], [], 1)
                try:
                    data = data[os.write(line, data) :]
                except BlockingIOError:
                    time.sleep(0.01)

    try:
        (set_server_up if node == "srv" else set_client_up)(node, modules, options)
    except Exception as error:
        tell({"failed": str(error)})
        raise
    tell({"ready": node})
    text = b""
    while True:
        try:
            data = os.read(line, 65536)
        except BlockingIOError:
            data = b""
        if not data:
            select.select([line], [], [], 1)
            time.sleep(0.001)
            continue
        *lines, text = (text + data).split(b"\n")
        for request in map(json.loads, lines):
            # Emulated clocks drift; a difference below this is the delay of the message.
            if abs(time.time() - request["clock"]) > 0.03:
                time.clock_settime(time.CLOCK_REALTIME, request["clock"])
            if "argv" not in request:
                continue
            threading.Thread(target=lambda r: tell(answer(r)), args=[request], daemon=True).start()


def set_up(node, modules):
    n = number(node)
    names = "".join(f"{SUBNET}{number(name)} {name}\\n" for name in ["srv", "n1", "n2", "n3", "n4"])
    sh(f"""
        mount --bind / /mnt 2>/dev/null; umount /mnt
        mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm
        mount -t tmpfs tmpfs /run
        mkdir /run/host; mount --bind / /run/host
        for d in /mnt /tmp /var/tmp /var/lib/nfs; do mount -t tmpfs tmpfs $d; done
        chmod 1777 /tmp /var/tmp /dev/shm
        mkdir -p {HOST} /mnt/v3 /mnt/v4 /mnt/disk /run/rpcbind /run/sendsigs.omit.d
        mount --move /run/host {HOST}
        hostname {node}
        printf '127.0.0.1 localhost\\n{names}' >/run/hosts; mount --bind /run/hosts /etc/hosts
        : >/run/resolv.conf; mount --bind /run/resolv.conf $(readlink -f /etc/resolv.conf) || :
        ip link set lo up
        dev=$(ls /sys/class/net | grep -v lo | head -1)
        ip addr add {SUBNET}{n}/24 dev $dev; ip link set $dev up
        mkdir -p /run/kernel/lib; ln -s {HOST}{modules} /run/kernel/lib/modules""")


def set_server_up(node, modules, _):
    set_up(node, modules)
    sh(f"""
        modprobe -d /run/kernel -a ext4 nfsd
        mount /dev/vda /mnt/disk
        mkdir -p /mnt/disk/export /mnt/disk/state; chmod 1777 /mnt/disk/export
        mount --bind /mnt/disk/state /var/lib/nfs
        cd /var/lib/nfs; mkdir -p sm sm.bak v4recovery rpc_pipefs; touch etab rmtab state
        mount -t nfsd nfsd /proc/fs/nfsd
        rpcbind -w
        exportfs -i -o rw,sync,fsid=0,no_root_squash,no_subtree_check,insecure '*:/mnt/disk/export'
        rpc.mountd -p {PORT_OF_MOUNTD}
        rpc.nfsd -L {V4_LEASE_S} -G {V4_LEASE_S} 8
        # Nobody has anything to reclaim from a server that never ran.
        if [ ! -e ran ]; then echo Y >/proc/fs/nfsd/v4_end_grace; touch ran; fi""")


def set_client_up(node, modules, options):
    set_up(node, modules)
    sh("modprobe -d /run/kernel -a nfsv3 nfsv4")
    deadline = time.monotonic() + 300
    while socket.socket().connect_ex((SUBNET + "1", 2049)):
        if time.monotonic() > deadline:
            raise RuntimeError("the server does not answer")
        time.sleep(0.1)
    extra = "," + options if options else ""
    v3 = f"vers=3,nolock,port=2049,mountport={PORT_OF_MOUNTD},mountproto=tcp"
    sh(f"""
        mount -t nfs -o {v3}{extra} srv:/mnt/disk/export /mnt/v3
        mount -t nfs -o vers=4.2{extra} srv:/ /mnt/v4""")


def answer(request):
    """Runs a command in the node."""
    began = time.time()
    try:
        child = subprocess.Popen(
            request["argv"],
            env={**os.environ, **request.get("env", {})},
            cwd=request.get("cwd") or "/tmp",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        timeout = request.get("timeout") or 600
        try:
            out, err = child.communicate(timeout=timeout)
            code = child.returncode
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            try:
                out, err = child.communicate(timeout=5)
            except subprocess.TimeoutExpired as error:
                out, err = error.stdout or b"", error.stderr or b""
            code = 124
            err += f"\nit ran for more than {timeout} s".encode()
    except OSError as error:
        code, out, err = 127, b"", str(error).encode()
    return {
        "id": request["id"],
        "code": code if code >= 0 else 128 - code,
        "out": out.decode(errors="replace"),
        "err": err.decode(errors="replace"),
        "began": began,
        "ended": time.time(),
    }


def lossy_proxy(port, share):
    """Forwards NFS calls to the server in this node; swallows a share of the replies.

    A swallowed reply also ends the connection, so the client sends the call again over a new one, and the
    server, which sees another source port, does not know it as a repetition.
    """
    import random

    counts = [0, 0]

    def pieces(connection):
        text = b""
        while data := connection.recv(65536):
            text += data
            while len(text) >= 4:
                length = 4 + (struct.unpack(">I", text[:4])[0] & 0x7FFFFFFF)
                if len(text) < length:
                    break
                yield text[:length]
                text = text[length:]

    def pump(source, sink, is_reply):
        try:
            for piece in pieces(source):
                # Small replies are those to operations on names; data is left alone.
                if is_reply:
                    counts[0] += 1
                    if random.random() < share:
                        counts[1] += 1
                        with open("/tmp/swallowed", "w") as out:
                            out.write(f"{counts[1]} {counts[0]}\n")
                        break
                sink.sendall(piece)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    door = socket.create_server(("0.0.0.0", port), backlog=64)
    with open("/tmp/swallowed", "w") as out:
        out.write("0 0\n")
    while True:
        client = door.accept()[0]
        server = socket.create_connection(("127.0.0.1", 2049))
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=pump, args=[client, server, False], daemon=True).start()
        threading.Thread(target=pump, args=[server, client, True], daemon=True).start()


# ---- outside ---------------------------------------------------------------------------------------------


class Node:
    """One virtual machine."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.is_cut = False
        self.qemu = None
        self.pending = {}
        self.ready = threading.Event()
        self.failure = None
        self.line = None
        self.lock = threading.Lock()
        self.hub = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.hub.bind(f"{lab.dir}/{name}.hub")
        self.hub.setblocking(False)
        self.net = f"{lab.dir}/{name}.net"
        self.mac = bytes([0x52, 0x54, 0, 0x77, 0, number(name)])

    def boot(self):
        lab, name = self.lab, self.name
        for stale in (self.net, f"{lab.dir}/{name}.line"):
            if os.path.exists(stale):
                os.remove(stale)
        self.ready.clear()
        self.failure = None
        mode = ["-accel", "kvm", "-cpu", "host"] if lab.has_kvm else ["-accel", "tcg,tb-size=256", "-cpu", CPU]
        start = f"{os.path.realpath(sys.executable)}:{ME}:node:{name}:{lab.kernel}/lib/modules:{lab.options}"
        words = f"console=ttyS0 panic=-1 quiet nokaslr mitigations=off no_timer_check random.trust_cpu=on lab.start={start}"
        mac = ":".join(f"{byte:02x}" for byte in self.mac)
        command = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-machine", "pc", *mode, "-smp", "1", "-m", str(lab.memory),
            "-kernel", lab.image, "-initrd", f"{lab.kernel}/initramfs", "-append", words,
            "-serial", f"file:{lab.dir}/{name}.log",
            "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=line,path={lab.dir}/{name}.line,server=on,wait=off",
            "-device", "virtserialport,chardev=line,name=lab",
            "-netdev", f"dgram,id=net,local.type=unix,local.path={self.net}"
            f",remote.type=unix,remote.path={lab.dir}/{name}.hub",
            "-device", f"virtio-net-pci,netdev=net,mac={mac},romfile=",
        ]  # fmt: skip
        if name == "srv":
            # Writes acknowledged to the guest outlive it; this machine does not lose power.
            disk = f"file={lab.dir}/srv.img,format=raw,if=virtio,cache=unsafe"
            command += ["-drive", disk]
        libc = ctypes.CDLL(None)
        with open(f"{lab.dir}/{name}.qemu", "wb") as log:
            self.qemu = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            )  # fmt: skip
        line = socket.socket(socket.AF_UNIX)
        for _ in range(200):
            try:
                line.connect(f"{lab.dir}/{name}.line")
                break
            except OSError:
                if self.qemu.poll() is not None:
                    break
                time.sleep(0.05)
        else:
            raise RuntimeError(f"cannot reach {name}")
        self.line = line
        threading.Thread(target=self.listen, args=[line], daemon=True).start()

    def listen(self, line):
        text = b""
        while True:
            try:
                data = line.recv(65536)
            except OSError:
                data = b""
            if not data:
                break
            *lines, text = (text + data).split(b"\n")
            for one in lines:
                message = json.loads(one)
                if "ready" in message:
                    # The clock of an emulated machine begins at a whole second.
                    line.sendall(json.dumps({"clock": time.time()}).encode() + b"\n")
                    self.ready.set()
                elif "failed" in message:
                    self.failure = message["failed"]
                    self.ready.set()
                elif waiting := self.pending.pop(message["id"], None):
                    waiting.put(message)
        for number_of_call in list(self.pending):
            if waiting := self.pending.pop(number_of_call, None):
                waiting.put({"code": 125, "out": "", "err": "the node is gone"})
        if self.line is line and not self.ready.is_set():
            self.failure = "the machine ended"
            self.ready.set()

    def run(self, request):
        answers = queue.Queue()
        if not self.ready.wait(300) or self.failure or self.qemu.poll() is not None:
            return {"code": 125, "out": "", "err": self.failure or "the node is off"}
        with self.lock:
            self.lab.calls += 1
            request["id"] = f"{self.name}.{self.lab.calls}"
            self.pending[request["id"]] = answers
            request["clock"] = time.time()
            try:
                self.line.sendall(json.dumps(request).encode() + b"\n")
            except OSError:
                self.pending.pop(request["id"], None)
                return {"code": 125, "out": "", "err": "the node is off"}
        return answers.get()

    def kill(self):
        self.qemu.kill()
        self.qemu.wait()


class Lab:
    """All nodes and what is between them."""

    def __init__(self, args):
        self.dir = os.path.realpath(args.dir)
        self.memory, self.options = args.memory, args.options
        self.calls = 0
        self.jobs = queue.Queue()
        kernels = sorted(glob.glob(f"{os.path.realpath(args.cache)}/kernel-*"))
        if not kernels:
            raise RuntimeError(f"cannot boot because there is no kernel in `{args.cache}`: see `lab.py prepare`")
        self.kernel = kernels[-1]
        self.image = f"{self.kernel}/vmlinux"
        flags = read("/proc/cpuinfo").split()
        self.has_kvm = os.access("/dev/kvm", os.R_OK | os.W_OK) and (b"vmx" in flags or b"svm" in flags)
        os.makedirs(self.dir, exist_ok=True)
        names = ["srv"] + [f"n{i + 1}" for i in range(args.clients)]
        self.nodes = {name: Node(self, name) for name in names}
        with open(f"{self.dir}/srv.img", "wb") as image:
            image.truncate(args.disk_mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", f"{self.dir}/srv.img"], check=True)

    def forward(self):
        """The hub: every frame goes to the node that it names, or to all."""
        by_socket = {node.hub: node for node in self.nodes.values()}
        by_mac = {node.mac: node for node in self.nodes.values()}
        while True:
            for ready in select.select(list(by_socket), [], [])[0]:
                source = by_socket[ready]
                for _ in range(64):
                    try:
                        frame = ready.recv(65536)
                    except OSError:
                        break
                    if source.is_cut:
                        continue
                    target = by_mac.get(frame[:6])
                    targets = [target] if target else [n for n in self.nodes.values() if n is not source]
                    for node in targets:
                        if not node.is_cut:
                            try:
                                node.hub.sendto(frame, node.net)
                            except OSError:
                                pass  # Lost, as on a cable when nobody listens.

    def wait(self, name, timeout):
        node = self.nodes[name]
        if not node.ready.wait(timeout) or node.failure:
            words = node.failure or f"it was not ready after {timeout} s"
            for kind in ("log", "qemu"):
                try:
                    words += "\n" + read(f"{self.dir}/{name}.{kind}").decode(errors="replace")[-3000:]
                except OSError:
                    pass
            raise RuntimeError(f"cannot boot {name}: {words}")

    def obey(self, request):
        verb = request["verb"]
        if verb == "status":
            return {"code": 0, "kvm": self.has_kvm, "out": "", "err": ""}
        if verb == "down":
            self.jobs.put(None)
            return {"code": 0, "out": "", "err": ""}
        node = self.nodes[request["node"]]
        if verb == "run":
            return node.run(request)
        if verb == "kill":
            node.kill()
        elif verb == "start":
            done = queue.Queue()
            # A machine dies with the thread that started it, so only the main thread does.
            self.jobs.put((node, done))
            if error := done.get():
                return {"code": 1, "out": "", "err": error}
            try:
                self.wait(node.name, 120 if self.has_kvm else 600)
            except RuntimeError as error:
                return {"code": 1, "out": "", "err": str(error)}
        elif verb in ("freeze", "thaw"):
            node.qemu.send_signal(signal.SIGSTOP if verb == "freeze" else signal.SIGCONT)
        elif verb in ("cut", "heal"):
            node.is_cut = verb == "cut"
        else:
            return {"code": 2, "out": "", "err": f"`{verb}` is unknown"}
        return {"code": 0, "out": "", "err": ""}

    def serve_one(self, connection):
        with connection, connection.makefile("rwb") as stream:
            for line in stream:
                try:
                    reply = self.obey(json.loads(line))
                except Exception as error:  # Reported to the caller, whatever it is.
                    reply = {"code": 2, "out": "", "err": f"{type(error).__name__}: {error}"}
                try:
                    stream.write(json.dumps(reply).encode() + b"\n")
                    stream.flush()
                except OSError:
                    return

    def serve(self, door):
        while True:
            connection = door.accept()[0]
            threading.Thread(target=self.serve_one, args=[connection], daemon=True).start()

    def up(self, ttl):
        began = time.monotonic()
        threading.Thread(target=self.forward, daemon=True).start()
        for node in self.nodes.values():
            node.boot()
        for name in self.nodes:
            self.wait(name, 120 if self.has_kvm else 900)
        door = socket.socket(socket.AF_UNIX)
        door.bind(f"{self.dir}/lab.sock")
        door.listen(64)
        threading.Thread(target=self.serve, args=[door], daemon=True).start()
        threading.Thread(target=self.watch_stdin, daemon=True).start()
        ready = time.monotonic()
        print(f"ready after {ready - began:.1f} s, {'KVM' if self.has_kvm else 'emulated'}", flush=True)
        while True:
            try:
                job = self.jobs.get(timeout=max(0, ready + ttl - time.monotonic()))
            except queue.Empty:
                print(f"lab.py: ends after {ttl} s", file=sys.stderr)
                return
            if job is None:
                return
            node, done = job
            try:
                node.boot()
                done.put(None)
            except Exception as error:
                done.put(str(error))

    def watch_stdin(self):
        while os.read(0, 4096):
            pass
        self.jobs.put(None)

    def down(self):
        for node in self.nodes.values():
            if node.qemu:
                node.qemu.kill()


def call(directory, verb, words):
    request = {"verb": verb}
    if words:
        request["node"] = words[0]
    if verb == "run":
        request["argv"] = words[1:]
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(f"{directory}/lab.sock")
        line.sendall(json.dumps(request).encode() + b"\n")
        reply = json.loads(line.makefile().readline())
    sys.stdout.write(reply["out"])
    sys.stderr.write(reply["err"])
    return reply["code"]


def main():
    if sys.argv[1:2] == ["node"]:
        return node_main(*(sys.argv[2:] + [""])[:3])
    if sys.argv[1:2] == ["proxy"]:
        return lossy_proxy(int(sys.argv[2]), float(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("prepare").add_argument("cache")
    up = verbs.add_parser("up")
    up.add_argument("--cache", required=True)
    up.add_argument("--clients", type=int, default=2)
    up.add_argument("--memory", type=int, default=320, help="MiB per node")
    up.add_argument("--disk-mib", type=int, default=4096)
    up.add_argument("--options", default="", help="more mount options")
    up.add_argument("--ttl", type=float, default=900, help="seconds")
    up.add_argument("dir")
    caller = verbs.add_parser("call")
    caller.add_argument("dir")
    caller.add_argument("what")
    caller.add_argument("words", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    if args.verb == "prepare":
        return prepare(args.cache)
    if args.verb == "call":
        return call(args.dir, args.what, args.words)
    lab = None
    try:
        lab = Lab(args)
        lab.up(args.ttl)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        print(f"lab.py: {error}", file=sys.stderr)
        return 1
    finally:
        if lab:
            lab.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
