"""The kernel tunables of the model, and sysctl(8); one table for the machine and its jails."""

from __future__ import annotations

from jails.freebsd.model.answer import Answer, refused

# In the order in which the recorded machine listed them; a branch is read in this order.
_DEFAULTS = {
    "net.isr.numthreads": "1",
    "net.isr.maxprot": "16",
    "net.isr.defaultqlimit": "256",
    "net.isr.maxqlimit": "10240",
    "net.isr.bindthreads": "0",
    "net.isr.maxthreads": "1",
    "net.isr.dispatch": "direct",
    "kern.ipc.nmbclusters": "61585",
    "kern.ipc.maxsockbuf": "2097152",
    "kern.maxfiles": "31631",
    "net.inet.ip.intr_queue_maxlen": "256",
    "net.inet.ip.forwarding": "0",
    "net.inet.ip.portrange.first": "10000",
    "net.inet.ip.portrange.last": "65535",
    "net.link.ifqmaxlen": "50",
    "net.inet.udp.recvspace": "42080",
    "net.inet.udp.maxdgram": "9216",
    "net.inet.udp.blackhole": "0",
    "net.inet.udp.checksum": "1",
    "net.inet.udp.log_in_vain": "0",
    "kern.ipc.soacceptqueue": "128",
    "net.inet.icmp.icmplim": "200",
    "hw.vtnet.lro_mbufq_depth": "0",
    "hw.vtnet.lro_entry_count": "128",
    "hw.vtnet.rx_process_limit": "1024",
    "hw.vtnet.tso_maxlen": "65535",
    "hw.vtnet.mq_max_pairs": "32",
    "hw.vtnet.mq_disable": "0",
    "hw.vtnet.lro_disable": "0",
    "hw.vtnet.tso_disable": "0",
    "hw.vtnet.fixup_needs_csum": "0",
    "hw.vtnet.csum_disable": "0",
    "kern.features.vimage": "1",
    "kern.racct.enable": "1",
    "kern.geom.debugflags": "0",
}


class Tunables:
    """Values by name."""

    def __init__(self) -> None:
        self.values = dict(_DEFAULTS)

    def sysctl(self, argv: tuple[str, ...]) -> Answer:
        """sysctl(8): names, branches and ``name=value``.

        ``-i`` passes over unknown names, ``-n`` tells only values: both read, not recorded.
        """
        answer = Answer()
        flags = {word for word in argv[1:] if word in ("-i", "-n")}
        for word in argv[1 + len(flags) :]:
            name, is_set, value = word.partition("=")
            if "-i" in flags and not self._below(name):
                continue
            if "-n" in flags:
                answer += self._read_values(name)
            else:
                answer += self._set(name, value) if is_set else self._read(name)
        return answer

    def _set(self, name: str, value: str) -> Answer:
        if name not in self.values:
            return refused(f"sysctl: unknown oid '{name}'")
        old, self.values[name] = self.values[name], value
        return Answer(f"{name}: {old} -> {value}\n")

    def _read(self, name: str) -> Answer:
        found = self._below(name)
        if not found:
            return refused(f"sysctl: unknown oid '{name}'")
        return Answer("".join(f"{key}: {value}\n" for key, value in found.items()))

    def _read_values(self, name: str) -> Answer:
        read = self._read(name)
        lines = [line.partition(": ")[2] for line in read.stdout.splitlines(keepends=True)]
        return Answer("".join(lines), read.stderr, read.status)

    def _below(self, name: str) -> dict[str, str]:
        return {
            key: value
            for key, value in self.values.items()
            if key == name or key.startswith(f"{name}.")
        }
