"""tls_server.py NAME DAYS: shakes hands under a certificate of its own for NAME and says nothing more.

The certificate is valid for DAYS days from now on; below zero, it has expired. One line of JSON says the port and
the file of the certificate. It ends when its standard input closes.
"""

import json
import os
import socket
import ssl
import sys
import tempfile
import threading
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def certificate(name, days):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{name}, of a test")])
    end = datetime.now(timezone.utc) + timedelta(days=days)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(),
                                      end - timedelta(days=365), end)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def converse(context, connection):
    try:
        with context.wrap_socket(connection, server_side=True) as talk:
            while talk.recv(4096):
                pass
    except OSError:  # who refuses the certificate hangs up
        pass


def accept(context, listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=converse, args=(context, connection), daemon=True).start()


with tempfile.TemporaryDirectory() as folder:
    public, private = certificate(sys.argv[1], int(sys.argv[2]))
    paths = [os.path.join(folder, name) for name in ("certificate.pem", "key.pem")]
    for path, content in zip(paths, (public, private)):
        with open(path, "wb") as file:
            file.write(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*paths)
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"port": listener.getsockname()[1], "certificate": paths[0]}), flush=True)
    threading.Thread(target=accept, args=(context, listener), daemon=True).start()
    sys.stdin.read()
