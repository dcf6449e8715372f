"""Calls a path with a certificate: call.py HOST PORT PATH CERTIFICATE KEY BUNDLE."""

import http.client
import ssl
import sys

host, port, path, certificate, key, bundle = sys.argv[1:]
context = ssl.create_default_context(cafile=bundle)
context.verify_flags |= ssl.VERIFY_X509_STRICT
context.load_cert_chain(certificate, key)
connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=20)
connection.request("GET", path)
response = connection.getresponse()
print(response.status)
print(response.read().decode())
