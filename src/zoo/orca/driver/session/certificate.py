"""The certificate that is made for one job whose connections are encrypted.

It travels inside the task, so Spark must keep it secret on the way, as it does where it encrypts
its own connections.
"""

import datetime

from pyspark.sql import SparkSession

from zoo.orca.encryption.choice import check_encryption

#: Nobody's clock ends a job: the certificate is worthless once the job's key is forgotten.
_FROM = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_UNTIL = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


def make_identity(spark: SparkSession) -> str:
    """Return a certificate and its key for one job, in PEM; empty if nothing asks for encryption.

    Raises
    ------
    InvalidInputError, MissingPackageError
        As `zoo.orca.encryption.choice.check_encryption`.
    """
    return self_signed() if check_encryption(lambda key: spark.conf.get(key, "") or "") else ""


def self_signed() -> str:
    """Return a new certificate that vouches for itself alone, and its key, in PEM."""
    # Imported here: an extra, which only encrypted jobs need.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "zoo-orca job")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        # It vouches for no other certificate.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return str(certificate.public_bytes(pem) + private, "ascii")
