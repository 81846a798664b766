"""The TLS settings that the arguments ask for."""

from __future__ import annotations

import ssl

from trio_socket_task._errors import InvalidOptionsError


def make_context(
    *, secure: bool, insecure: bool, cafile: str | None, cert: str | None, key: str | None
) -> ssl.SSLContext | None:
    """Return TLS settings, None where the usual ones do.

    Raises:
        InvalidOptionsError: A file is none of its kind, or is of no use here.
    """
    for name, value in (("--cafile", cafile), ("--cert", cert), ("--key", key)):
        if value is not None and not secure:
            raise InvalidOptionsError(name, value, "must be left out for a ws URL, which has no TLS")
    if key is not None and cert is None:
        raise InvalidOptionsError("--key", key, "must come with --cert")
    if not secure or not (insecure or cafile or cert):
        return None
    context = _trusting(cafile)
    context.set_alpn_protocols(["http/1.1"])
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        try:
            context.load_cert_chain(cert, key)
        except OSError as error:
            rule = f"must be a PEM file with a certificate, and its key there or in --key ({error.strerror})"
            raise InvalidOptionsError("--cert", cert, rule) from error
    return context


def _trusting(cafile: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=cafile)
    except OSError as error:
        rule = f"must be a PEM file of certificate authorities ({error.strerror})"
        raise InvalidOptionsError("--cafile", cafile, rule) from error
