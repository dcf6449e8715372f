"""Handshakes in memory with Python's `ssl`, both sides strict and with the CRL.

Reads lines of BUNDLE CRL SERVER-CRT SERVER-KEY HOST CLIENT-CRT CLIENT-KEY from stdin, separated by
tabs; writes for each `ok` or the reason of the side that refused.
"""

import ssl
import sys


def context(purpose, bundle, crl, certificate, key):
    made = ssl.SSLContext(purpose)
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(bundle)
    made.load_verify_locations(crl)
    made.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_CRL_CHECK_LEAF
    made.load_cert_chain(certificate, key)
    return made


def handshake(bundle, crl, server_crt, server_key, host, client_crt, client_key):
    server_in, client_in = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context(ssl.PROTOCOL_TLS_SERVER, bundle, crl, server_crt, server_key).wrap_bio(
        server_in, client_in, server_side=True
    )
    client = context(ssl.PROTOCOL_TLS_CLIENT, bundle, crl, client_crt, client_key).wrap_bio(
        client_in, server_in, server_hostname=host
    )
    open_sides = [("client", client), ("server", server)]
    for _ in range(20):
        for side in list(open_sides):
            try:
                side[1].do_handshake()
                open_sides.remove(side)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                return f"{side[0]} refused: {error}"
        if not open_sides:
            return "ok"
    return "the handshake does not end"


for line in sys.stdin:
    print(handshake(*line.rstrip("\n").split("\t")), flush=True)
