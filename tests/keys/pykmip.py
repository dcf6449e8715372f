"""A real KMIP server and a client of it, for the tests.

    pykmip.py serve CONFIG LOG [VERSION...]   serves, with these versions of the protocol alone
    pykmip.py client PORT CERT KEY CA         reads one request a line, answers one line: a UID or "ok"
                                              create | inactive | signing | revoke UID | destroy UID
"""

import sys


def serve(config, log, *versions):
    from kmip.services.server import engine, server

    made = engine.KmipEngine.__init__

    def limited(self, *args, **kwargs):
        made(self, *args, **kwargs)
        if versions:
            self._protocol_versions = [v for v in self._protocol_versions if str(v) in versions]
            self.default_protocol_version = self._protocol_versions[-1]
            self._protocol_version = self._protocol_versions[-1]

    engine.KmipEngine.__init__ = limited
    with server.KmipServer(config_path=config, log_path=log) as running:
        running.serve()


def client(port, cert, key, ca):
    from kmip.core import enums
    from kmip.pie.client import ProxyKmipClient

    from kmip.pie import objects

    both = [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT]
    with ProxyKmipClient(hostname="127.0.0.1", port=int(port), cert=cert, key=key, ca=ca,
                         ssl_version="PROTOCOL_TLSv1_2", config_file="/dev/null") as kmip:
        for line in sys.stdin:
            what, *uid = line.split()
            answer = "ok"
            if what in ("create", "inactive"):
                answer = kmip.create(enums.CryptographicAlgorithm.AES, 256, cryptographic_usage_mask=both)
            elif what == "signing":
                masks = [enums.CryptographicUsageMask.MAC_GENERATE]
                key = objects.SymmetricKey(enums.CryptographicAlgorithm.AES, 256, bytes(range(32)), masks=masks)
                answer = kmip.register(key)
            elif what == "revoke":
                kmip.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, uid[0])
            elif what == "destroy":
                kmip.destroy(uid[0])
            if what in ("create", "signing"):
                kmip.activate(answer)
            print(answer, flush=True)


if __name__ == "__main__":
    {"serve": serve, "client": client}[sys.argv[1]](*sys.argv[2:])
