"""The SDK: sessions, clients, credentials. Every call of the backend goes through `Cloud.call`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, RefreshWithMFAUnsupportedError
from botocore.session import Session

from pytest_capacity.backends.aws import profiles, regions
from pytest_capacity.backends.aws.descriptions import read_fast
from pytest_capacity.backends.aws.settings import section_of
from pytest_capacity.backends.diagnosis import table_of
from pytest_capacity.backends.emulator_secret import emulator_secret
from pytest_capacity.backends.times import parse_time
from pytest_capacity.config.near import is_loopback
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Identity, Request

#: EC2 honours MaxResults up to 1000 in every paged read that is used here.
PAGE: Final = 1000

#: What a cloud says of credentials that were good once.
EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})

#: Keys under which login tools write the end of the credentials beside them in the credentials file.
_EXPIRY_KEYS: Final = ("aws_expiration", "x_security_token_expires", "expiration", "aws_session_expiration")

#: A round asks for tens of things at once, so the pool of connections is as wide as the engine's executor. Retries are
#: the engine's: botocore would repeat an HTTP 500, which is how EC2 says that a zone is dry, for seconds.
_CONFIG: Final = Config(
    retries={"mode": "standard", "total_max_attempts": 1},
    max_pool_connections=32,
    connect_timeout=10,
    read_timeout=60,
)


class WrongAccountError(BotoCoreError):
    """New credentials belong to another account than the run's."""

    fmt = "the credentials belong to account {now} now, and this run began in {began}: put those of that account there"


class Cloud:
    """boto3's core for one `Request`: one session, one client per service and region.

    The core alone, since what boto3 puts on top (resources, S3 transfers) is not used here, and costs every start of a
    keeper a tenth of a second.

    Safe to use from many threads. Credentials that refresh themselves (roles, SSO, a credential process) are the SDK's;
    those of a file are frozen by the SDK when it reads them, so when EC2 calls them expired the session is opened anew
    and that one call is made once more with the same parameters, token included: an expired signature is refused before
    anything is done, so this is still the one mutating call of a piece.
    """

    def __init__(self, request: Request) -> None:
        if request.emulated and not request.endpoint:
            raise ConfigError(["an emulated run has no endpoint: start the emulator and pass --capacity-endpoint URL"])
        self._request = request
        #: What EC2's errors mean to this user.
        self.errors: Final = table_of("aws", request.errors)
        self._lock = threading.Lock()
        self._generation = 0
        self._session = self._open_session()
        self._clients: dict[tuple[str, str], Any] = {}
        #: A region that answers: the first of the run, unless that does not accept the credentials.
        self.home = request.regions[0]
        #: The account of the first credentials, once it is known.
        self._account: str | None = None

    def call(self, service: str, region: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer of one API call, e.g. ``call("ec2", "us-east-1", "describe_regions")``.

        Answers are nested plain dicts in the SDK's own spelling, hence ``Any``. Raises what botocore raises.
        """
        generation = self._generation
        try:
            answer: dict[str, Any] = getattr(self._client(service, region), operation)(**parameters)
        except (RefreshWithMFAUnsupportedError, ClientError) as error:
            # Where a code was wanted, the command line may have taken on the role once more since.
            if isinstance(error, ClientError) and not self._has_expired(error):
                raise
            self._reopen(generation)
            answer = getattr(self._client(service, region), operation)(**parameters)
        return answer

    def _has_expired(self, error: ClientError) -> bool:
        return not self._request.emulated and error.response.get("Error", {}).get("Code") in EXPIRED

    def ec2(self, region: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Do as `call`, for EC2."""
        return self.call("ec2", region, operation, **parameters)

    def pages(
        self, region: str, operation: str, key: str, *, service: str = "ec2", **parameters: Any
    ) -> Iterator[dict[str, Any]]:
        """Yield every item under ``key`` of a paged read, page after page."""
        following: dict[str, Any] = {}
        while True:
            answer = self.call(service, region, operation, **parameters, **following)
            yield from answer.get(key, ())
            if not answer.get("NextToken"):
                return
            following = {"NextToken": answer["NextToken"]}

    def whoami(self) -> Identity:
        """Make one call of GetCallerIdentity; return also when the credentials end, where that is known.

        Where the region does not accept them, one more in another: the account may not have enabled the first.
        """
        answer = self._caller()
        self._account = self._account or answer["Account"]
        return Identity(
            account=answer["Account"],
            who=answer.get("Arn", ""),
            profile="" if self._request.emulated else self._profile,
            expires=None if self._request.emulated else self._expires(),
        )

    def _caller(self) -> dict[str, Any]:
        try:
            return self.call("sts", self.home, "get_caller_identity")
        except (ClientError, BotoCoreError) as problem:
            if not regions.may_be_closed(problem, self.home, self.known_regions):
                raise
            for home in regions.others(self.home, self._request.regions):
                with suppress(ClientError, BotoCoreError):
                    answer = self.call("sts", home, "get_caller_identity")
                    self.home = home
                    return answer
            raise

    @property
    def known_regions(self) -> list[str]:
        """The regions that the SDK knows by name, of all partitions."""
        session = self._session
        names = session.get_available_partitions()
        return [region for name in names for region in session.get_available_regions("ec2", name)]

    def why_closed(self, problem: Exception, region: str) -> Exception:
        """Return what is wrong with a region that did not answer, or ``problem`` itself."""
        if not regions.may_be_closed(problem, region, self.known_regions):
            return problem
        return regions.why(problem, region, [self.home, *self._request.regions], self.call)

    @property
    def described(self) -> str:
        """Which profile is used, of which file, and where it says that credentials come from; "" of an emulated run."""
        return "" if self._request.emulated else profiles.describe(self._session)

    def _client(self, service: str, region: str) -> Any:
        # Making a client of a session is not safe from several threads at once; using one is (boto3's guide).
        with self._lock:
            client = self._clients.get((service, region))
            if client is None:
                client = self._clients[service, region] = self._new_client(self._session, service, region)
            return client

    @property
    def _profile(self) -> str:
        return self._session.profile or "default"

    def _new_client(self, session: Session, service: str, region: str) -> Any:
        return session.create_client(
            service,
            region_name=region,
            endpoint_url=self._request.endpoint,
            config=_CONFIG.merge(Config(proxies={})) if self._is_near else _CONFIG,
        )

    @property
    def _is_near(self) -> bool:
        """Whether the endpoint is on this machine: a proxy would get signed requests in clear text for nothing."""
        variables = ("AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL")
        named = self._request.endpoint or next(filter(None, map(os.environ.get, variables)), "")
        return self._request.emulated or is_loopback(named)

    def _reopen(self, generation: int) -> None:
        """Open a session with the credentials as the files have them now, unless another thread has since.

        Those of another account are refused: there, nothing of this run would be found, and be taken for gone.
        """
        with self._lock:
            if generation != self._generation:
                return
            session = self._open_session()
            if self._account:
                sts = self._new_client(session, "sts", self.home)
                now = sts.get_caller_identity()["Account"]
                if now != self._account:
                    raise WrongAccountError(now=now, began=self._account)
            self._session = session
            self._clients = {}
            self._generation += 1

    def _open_session(self) -> Session:
        """Open a session. Raise botocore's ``ProfileNotFound``."""
        if not self._request.emulated:
            session = Session(profile=section_of(self._request).profile)
            session.get_scoped_config()  # Otherwise the first client would find out that there is no such profile.
            read_fast(session)
            profiles.serve_without_terminal(session)
            return session
        # Neither the user's credentials nor anything in the user's files may reach an emulator.
        session = Session(session_vars={"profile": (None, None, None, None)})
        session.set_config_variable("config_file", os.devnull)
        session.set_config_variable("credentials_file", os.devnull)
        read_fast(session)
        session.set_credentials("emulated", emulator_secret() or "emulated")
        return session

    def _expires(self) -> float | None:
        """Return when credentials end that are not renewed: those of the environment, and those of a file.

        Credentials of a role, of SSO or of a process have an expiry too, but the SDK renews them by itself.
        """
        credentials = self._session.get_credentials()
        method = getattr(credentials, "method", "")
        if method == "env":
            return parse_time(os.environ.get("AWS_CREDENTIAL_EXPIRATION", ""))
        if method in ("shared-credentials-file", "config-file"):
            profiles = self._session.full_config.get("profiles", {})
            profile = profiles.get(self._profile, {})
            known = [parse_time(str(profile[key])) for key in _EXPIRY_KEYS if key in profile]
            return min((time for time in known if time is not None), default=None)
        return None
