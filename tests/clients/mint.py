"""Makes keys and JSON Web Tokens as it is told: one command a line on stdin, one answer a line on stdout.

Tokens are PyJWT's, keys those of `cryptography`, so that nobody checks here what he has made himself. It ends when stdin
ends.
"""

import base64
import hashlib
import hmac
import json
import sys

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SECRET = "a secret of sixty-four bytes, which is enough for each of them.."

MAKERS = {
    "HS": lambda: SECRET,
    "RS": lambda: rsa.generate_private_key(65537, 2048),
    "PS": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}

keys = {}


def key(name, alg, **_):
    """A new key for an algorithm: its public half as a JSON Web Key and in PEM; of a secret, the secret."""
    made = keys[name] = MAKERS.get(alg, MAKERS.get(alg[:2]))()
    public = made if isinstance(made, str) else made.public_key()
    jwk = jwt.get_algorithm_by_name(alg).to_jwk(public)
    how = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    pem = made if isinstance(made, str) else public.public_bytes(*how).decode()
    return {"jwk": {**json.loads(jwk), "kid": name, "alg": alg}, "pem": pem}


def sign(key, alg, claims, header, **_):
    """A token as it should be."""
    return {"token": jwt.encode(claims, keys[key], alg, header)}


def forge(header, claims, secret=None, **_):
    """A token with any header, signed by HMAC-SHA-256, or not at all: PyJWT refuses to make such."""
    text = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    signed = ".".join(text(json.dumps(part).encode()) for part in (header, claims))
    mac = b"" if secret is None else hmac.digest(secret.encode(), signed.encode(), hashlib.sha256)
    return {"token": f"{signed}.{text(mac)}"}


ACTS = {"key": key, "sign": sign, "forge": forge}

for line in sys.stdin:
    command = json.loads(line)
    print(json.dumps(ACTS[command["act"]](**command)), flush=True)
