"""`python -m simulator.aws`: one peer as a process, with one JSON line on standard output when it is ready."""

import argparse
import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path

import orjson
import uvloop

from simulator.aws.config import QUOTAS_PER_S, REALMS, PeerConfig
from simulator.aws.duty_role import DUTY_ROLES, role_arn
from simulator.aws.peer import StateDirectoryBusyError, serve


def config_from(arguments: list[str]) -> PeerConfig:
    """The settings of a command line; exits with usage on a wrong one."""
    parser = argparse.ArgumentParser(prog="simulator.aws", description=__doc__)
    parser.add_argument(
        "--state-dir", type=Path, required=True, help="keys and records; created when missing"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port (default)")
    parser.add_argument("--public-url", help="base of the CRL addresses written into certificates")
    parser.add_argument("--region", default="eu-central-1")
    parser.add_argument("--realm", action="append", help=f"repeatable; default {', '.join(REALMS)}")
    parser.add_argument("--key-algorithm", choices=("EC_prime256v1", "RSA_2048"), default="EC_prime256v1")
    parser.add_argument("--ready-delay-s", type=float, default=0, help="until GetCertificate succeeds")
    parser.add_argument("--crl-lag-s", type=float, default=1800, help="until a revocation is in the CRL")
    parser.add_argument("--audit-report-interval-s", type=float, default=1800)
    parser.add_argument(
        "--no-crl-address", action="store_true", help="omit the CRL address from certificates"
    )
    parser.add_argument(
        "--crl-partitions", type=int, default=0, help="partial lists for each CA (0: one whole)"
    )
    parser.add_argument("--ocsp", action="store_true", help="certificates name an OCSP responder")
    parser.add_argument("--ocsp-lag-s", type=float, default=3600, help="until the responder says revoked")
    parser.add_argument("--unlimited", action="store_true", help="no request quotas")
    parser.add_argument("--duty-roles", action="store_true", help="one role for each duty, to be assumed")
    chosen = parser.parse_args(arguments)
    return PeerConfig(
        state_dir=chosen.state_dir,
        host=chosen.host,
        port=chosen.port,
        public_url=chosen.public_url,
        region=chosen.region,
        realms=tuple(chosen.realm or REALMS),
        key_algorithm=chosen.key_algorithm,
        ready_delay=timedelta(seconds=chosen.ready_delay_s),
        crl_lag=timedelta(seconds=chosen.crl_lag_s),
        audit_report_interval=timedelta(seconds=chosen.audit_report_interval_s),
        crl_partitions=chosen.crl_partitions,
        ocsp_responder=chosen.ocsp,
        ocsp_lag=timedelta(seconds=chosen.ocsp_lag_s),
        crl_distribution_points=not chosen.no_crl_address,
        roles=tuple(DUTY_ROLES.values()) if chosen.duty_roles else (),
        quotas_per_s={} if chosen.unlimited else dict(QUOTAS_PER_S),
    )


async def run(config: PeerConfig) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    peer = await serve(config)
    authorities = {
        realm: {"root_arn": arns.root_arn, "issuing_arn": arns.issuing_arn}
        for realm, arns in peer.arns.items()
    }
    roles = {
        duty: role_arn(config.account_id, role) for duty, role in DUTY_ROLES.items() if role in config.roles
    }
    ready = {"event": "ready", "url": peer.url, "authorities": authorities, "roles": roles}
    sys.stdout.write(orjson.dumps(ready).decode() + "\n")
    sys.stdout.flush()
    await stop.wait()
    await peer.close()


def main() -> None:
    """The process: exit code 0 after a signal, 2 when the state directory is taken."""
    try:
        uvloop.run(run(config_from(sys.argv[1:])))
    except StateDirectoryBusyError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
