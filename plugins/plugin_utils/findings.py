# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can be wrong with a platform: the register of all findings, and how one is made, sorted and counted. Pure.

A finding is a dict of stable shape: ``id`` (never renamed), ``severity`` (critical, error, warning, info), ``role``,
``host``, ``site`` (text or None), ``what`` (one sentence: where, expected, found), ``expected``, ``found``, ``remedy``
(the playbook to run, or the step), ``source``. docs/findings.md lists every id; a test compares it with this file.
"""

from __future__ import annotations

import math
import string

SEVERITIES = ("critical", "error", "warning", "info")
KEYS = ("id", "severity", "role", "host", "site", "what", "expected", "found", "remedy", "source")

MANUAL = "operation manual, "
_ROLES = MANUAL + '"Roles"'
_PKI = MANUAL + '"PKI Connectivity"'
_DB = MANUAL + '"Web DB Failover"'
_DC = "on-premises documentation, backup datacenter"
_MQ = MANUAL + '"MQ node restart"'
_FLOW = MANUAL + '"Data Flow"'
_TRACE = MANUAL + '"Broker troubleshooting"'
_STORAGE = MANUAL + '"Operations Dashboard"'
_STORE = MANUAL + '"Data Storage"'
_COLLECTION = "this collection"

_OPERATE = "service_operate.yml -e service_operate_role={role} -e service_operate_limit={host} -e service_operate_verb="
_START = _OPERATE + "start"
_STOP = _OPERATE + "stop -e circonus_confirm={role}"
_RESTART = (
    "service_restart.yml -e service_restart_role={role} -e service_restart_limit={host} -e circonus_confirm={role}"
)
#: service_restart.yml wants a whole cluster before it begins.
_RESTART_NODE = _OPERATE + "restart -e service_operate_only=epmd,rabbitmq -e circonus_confirm={role}"
_HOOPER = "hooper_run.yml --limit {host}"
#: Has the CA issue a certificate between hosts anew, and restarts what reads it.
REISSUE = "ca_reissue.yml -e ca_reissue_limit={host} -e ca_reissue_roles={role}"
_REFRESH = "Run the refresh command of root's crontab on {host}"
#: For files that ca_reissue.yml does not know. Hooper makes what is missing; it does not look into what is there.
_ANEW = "Move {path} aside on {host}, then " + _HOOPER
_USERS = "Put the right one for users into {path} on {host}, then " + _RESTART
_AUTHORITY = (
    "It is the certificate of the CA itself: restore an archive of it by ca_failover.yml -e ca_failover_mode=lost "
    "(docs/ca.md); one that has ended or is not usable as a CA must be made anew with the help of support"
)
_BROKER = "restart the broker, which provisions itself from noit.local.env: " + _RESTART
#: The last step of the manual for a child that is killed again and again.
_FOREGROUND = (
    "Mend what else is found on {host} first (CPU, IO, memory, disks). Without any: stop the node while its cluster "
    "can spare it and run it in the foreground for a core dump (docs/procedures/data_storage_diagnose.md)"
)
#: What a fresh copy of the CA's certificate mends in a ca.crt.
CA_COPY = ("pki_missing", "pki_unreadable", "pki_malformed", "pki_ca_differs", "pki_key_in_public")
#: For those who have a better one for some hosts.
HOOPER, RESTART = _HOOPER, _RESTART
_REJOIN = "web_db_rejoin.yml -e web_db_rejoin_host={host} -e circonus_confirm={host}"
_LOST = (
    "Start it on {host} ({start}), or if the host is lost: web_db_failover.yml with web_db_failover_mode=unplanned, "
    "datacenter_failover.yml with datacenter_failover_mode=unplanned"
)
#: The remedy when only the feed for storage of a broker is disconnected.
CHECKPOINT = (
    "Rule out its certificate; then jlogctl -s /opt/noit/prod/log/noitd.feed/ on {broker}: a checkpoint of {stratcon} "
    "whose file is gone must be rebuilt (operation manual, broker-stratcon connectivity)"
)


def _entry(severity, meaning, expected, found, remedy, source):
    return {
        "severity": severity,
        "meaning": meaning,
        "expected": expected,
        "found": found,
        "remedy": remedy,
        "source": source,
    }


#: id -> severity, meaning (for docs/findings.md), templates of expected, found and remedy, source of the rule.
REGISTER = {
    # -- hosts and what could not be looked at
    "host_unreachable": _entry(
        "error",
        "The controller cannot log in to the host. Critical for the host of the primary database.",
        "a host that answers",
        "no connection ({detail})",
        "Look at the host and its network. Nothing on it was checked.",
        _COLLECTION,
    ),
    "check_failed": _entry(
        "error",
        "The host answers, but the check could not run on it.",
        "an answer of host_check",
        "{detail}",
        "Correct the cause (Python, privileges, disk) and check again. Nothing on the host was checked.",
        _COLLECTION,
    ),
    "check_incomplete": _entry(
        "warning",
        "One part of a host could not be read; the others were.",
        "{part} to be readable",
        "{detail}",
        "Correct the cause, or raise platform_check_deadline_s, and check again.",
        _COLLECTION,
    ),
    # -- services
    "unit_down": _entry(
        "error",
        "A service is not running although it should. Critical for the primary database.",
        "{unit} running",
        "{state}",
        _START,
        _ROLES,
    ),
    "unit_failed": _entry(
        "error",
        "A service ended with an error and was given up by systemd.",
        "{unit} running",
        "{state}",
        "Read its log{log}, then " + _RESTART,
        _ROLES,
    ),
    "unit_flapping": _entry(
        "error",
        "A service keeps being restarted by systemd.",
        "{unit} to stay up",
        "{detail}",
        "Read its log{log}; look at load and memory, then " + _RESTART,
        _ROLES,
    ),
    "unit_absent": _entry(
        "info",
        "A service that the role normally has is not installed, as is right where the release does not have it; an "
        "error for one that the role cannot be without.",
        "one of {candidates} installed",
        "none of them",
        "Nothing, when the release does not have it; else " + _HOOPER,
        _ROLES,
    ),
    "unit_disabled": _entry(
        "warning",
        "A service runs, but would not come back after a restart of the host.",
        "{unit} enabled",
        "{state}",
        _HOOPER,
        _ROLES,
    ),
    "role_absent": _entry(
        "error",
        "No service of a role is installed on a host that has the role in site.json.",
        "the services of {role} installed",
        "none of {candidates}",
        _HOOPER,
        _ROLES,
    ),
    "no_sign_of_life": _entry(
        "error",
        "systemd calls a service running, but its documented sign of life is missing.",
        "{unit} with its sign of life",
        "missing: {missing}",
        _RESTART,
        _ROLES,
    ),
    "process_missing": _entry(
        "error",
        "A process that has no service of its own is not there.",
        "process {process} running",
        "{detail}",
        _RESTART,
        _ROLES,
    ),
    "pair_without_child": _entry(
        "error",
        "A watchdog parent runs without its child: the service looks up and does nothing.",
        "{process} as parent and child",
        "parent {parent} without a child",
        _RESTART + "; when it happens again, run it in the foreground for a core dump",
        MANUAL + '"Broker troubleshooting"',
    ),
    "restart_loop": _entry(
        "error",
        "A process ends and is started again: heartbeats are missed, or it crashes.",
        "{process} to stay up",
        "{detail}",
        "Look at CPU and IO load of {host}; without load it crashes: run it in the foreground, core dump to support",
        MANUAL + '"Broker troubleshooting"',
    ),
    # -- ports and pages
    "port_not_listening": _entry(
        "error",
        "Nobody listens on a port of a running service.",
        "{proto} port {port} of {unit} listening{needed}",
        "nobody listens",
        _RESTART,
        _ROLES,
    ),
    "port_stolen": _entry(
        "critical",
        "A port of a service is held by a program that does not belong to it.",
        "{proto} port {port} held by {unit}",
        "held by {owner}",
        "Stop {owner} on {host}, then " + _RESTART,
        _ROLES,
    ),
    "port_bound_local": _entry(
        "error",
        "A port that other hosts need is only reachable from the host itself.",
        "{proto} port {port} of {unit} bound for other hosts{needed}",
        "bound to {bound}",
        _HOOPER + ", then " + _RESTART,
        _ROLES,
    ),
    "port_exposed": _entry(
        "warning",
        "A port that is meant for the host itself, such as a console, can be reached from other hosts.",
        "{proto} port {port} of {unit} bound to the host itself",
        "bound to {bound}",
        "Close the port in the firewall of {host}; " + _HOOPER,
        _ROLES,
    ),
    "port_hung": _entry(
        "error",
        "A port accepts connections, but nothing behind it answers.",
        "an answer on port {port}",
        "{detail}",
        _RESTART,
        _ROLES,
    ),
    "endpoint_error": _entry(
        "error",
        "A page of a service answers with an error.",
        "status {status} from {url}",
        "{detail}",
        "Read the log of {role} on {host}, then " + _RESTART,
        _ROLES,
    ),
    "endpoint_sections_missing": _entry(
        "warning",
        "A page of a service lacks documented parts: one of its inner modules does not work.",
        "{sections} in {url}",
        "not there",
        _RESTART,
        _ROLES,
    ),
    "endpoint_timeout": _entry(
        "error",
        "One page of a service does not answer while others on the same port do.",
        "an answer from {url}",
        "{detail}",
        _RESTART,
        _ROLES,
    ),
    "endpoint_slow": _entry(
        "warning",
        "A page of a service answers slowly (platform_check_endpoint_s).",
        "{url} within {limit} s",
        "{seconds} s",
        "Look at the load of {host}; more hosts for {role} help when it stays.",
        _ROLES,
    ),
    # -- files and resources of a host
    "space_low": _entry(
        "warning",
        "A file system is nearly full (platform_check_space_percent).",
        "at least {limit} % free on {mount}",
        "{percent} % free ({free})",
        "Free space on {host}: old logs, directories that were set aside.",
        _ROLES,
    ),
    "space_full": _entry(
        "critical",
        "A file system is full or about to be (platform_check_space_full_percent).",
        "at least {limit} % free on {mount}",
        "{percent} % free ({free})",
        "Free space on {host} now: old logs, directories that were set aside.",
        _ROLES,
    ),
    "inodes_low": _entry(
        "warning",
        "A file system has few inodes left (platform_check_inodes_percent).",
        "at least {limit} % of the inodes of {mount} free",
        "{percent} %",
        "Remove many small files on {host}, such as old journals and core files.",
        _ROLES,
    ),
    "path_missing": _entry(
        "info",
        "A directory that a role keeps its data in does not exist.",
        "{path}",
        "{detail}",
        _HOOPER,
        _ROLES,
    ),
    "clock_skew": _entry(
        "error",
        "The clock differs from fault_detection by more than platform_check_clock_s; fault_detection drops older data.",
        "a clock within {limit} s of {reference}",
        "{skew} s {direction}",
        "Correct time synchronisation (NTP) on {host}.",
        _FLOW,
    ),
    "log_stale": _entry(
        "warning",
        "A service that runs for longer than platform_check_log_age_s has not written to any of its logs for as long.",
        "{path} written to within {limit}",
        "last written {age} ago",
        "Look whether the service works and may write there; " + _RESTART,
        _ROLES,
    ),
    "log_errors": _entry(
        "warning",
        "A log that was written to within the last hour has lines that the manual calls trouble.",
        "no trouble in {path}",
        "{line}",
        "Read {path} on {host}.",
        _ROLES,
    ),
    "log_grows": _entry(
        "warning",
        "A log grew by more than platform_check_log_growth_bytes while it was looked at.",
        "{path} to grow by less than {limit}",
        "{grown}",
        "Read {path} on {host}; correct the cause before the disk is full.",
        _ROLES,
    ),
    "log_large": _entry(
        "warning",
        "A log is larger than platform_check_log_max_bytes: it is not rotated.",
        "{path} below {limit}",
        "{size}",
        "Rotate it. A LOGFILE of jezebel must be switched off again.",
        MANUAL + '"Broker troubleshooting"',
    ),
    "pki_missing": _entry(
        "error",
        "A certificate, key, CA certificate or CRL is missing.",
        "{kind} in {path}",
        "no such file",
        REISSUE,
        _PKI,
    ),
    "pki_unreadable": _entry(
        "error",
        "A certificate, key, CA certificate or CRL cannot be read.",
        "a {kind} in {path}",
        "{detail}",
        REISSUE,
        _PKI,
    ),
    "pki_mode": _entry(
        "error",
        "A private key can be read or written by others.",
        "no access for others to {path}",
        "mode {mode}",
        "chmod o-rwx,g-w {path} on {host}, or " + _HOOPER,
        _PKI,
    ),
    "pki_owner": _entry(
        "error",
        "A file of the PKI belongs to somebody else than the service that reads it.",
        "{path} owned by {wanted}",
        "{owner}",
        "chown {wanted} {path} on {host}, or " + _HOOPER,
        _PKI,
    ),
    "pki_expired": _entry(
        "critical",
        "A certificate or CRL has expired. With an expired CRL stratcon refuses every broker.",
        "{path} to be valid",
        "expired {age} ago",
        REISSUE,
        _PKI,
    ),
    "pki_malformed": _entry(
        "error",
        "A file of the PKI holds something else than it should: no PEM or DER, garbage, another kind of object.",
        "a {kind} in {path}",
        "{detail}",
        REISSUE,
        _PKI,
    ),
    "pki_not_yet_valid": _entry(
        "error",
        "A certificate is not valid yet: the clock of this host or of the CA was wrong, or it was issued for later.",
        "{path} to be valid now",
        "valid from {start}",
        "Check the clocks of {host} and of the CA host; if they are right: " + REISSUE,
        _PKI,
    ),
    "pki_issuer": _entry(
        "error",
        "A certificate was issued by somebody else than the CA in its ca.crt.",
        "{path} issued by {wanted}",
        "{issuer}",
        REISSUE,
        _PKI,
    ),
    "pki_signature": _entry(
        "error",
        "A certificate names the right CA, but that CA's key did not sign it: the CA was made anew, or it is forged.",
        "{path} signed by {wanted}",
        "a signature that does not verify",
        REISSUE,
        _PKI,
    ),
    "pki_chain": _entry(
        "error",
        "No path leads from a certificate to a trusted authority: one is missing, expired or may not issue.",
        "{path} to lead to a trusted authority",
        "{detail}",
        REISSUE,
        _PKI,
    ),
    "pki_ca_differs": _entry(
        "error",
        "The ca.crt of a host is not public-info/ca.crt of the CA host.",
        "{path} to be the CA certificate {wanted}",
        "{found}",
        REISSUE,
        _PKI,
    ),
    "pki_key_mismatch": _entry(
        "error",
        "A private key does not belong to its certificate.",
        "the key in {path} to belong to {certificate}",
        "another key",
        REISSUE,
        _PKI,
    ),
    "pki_key_encrypted": _entry(
        "error",
        "A private key has a passphrase; the services start without anybody to type it.",
        "a private key without a passphrase in {path}",
        "an encrypted one",
        REISSUE,
        _PKI,
    ),
    "pki_key_in_public": _entry(
        "critical",
        "A file that everybody may read holds a private key beside the certificate.",
        "no private key in {path}",
        "one, mode {mode}",
        REISSUE,
        _PKI,
    ),
    "pki_name": _entry(
        "error",
        "A certificate is for another host.",
        "{path} to name {wanted}",
        "{names}",
        REISSUE,
        _PKI,
    ),
    "pki_usage": _entry(
        "error",
        "A certificate may not be used for what the role needs.",
        "{path} to be usable as {purpose}",
        "{detail}",
        REISSUE,
        _PKI,
    ),
    "pki_revoked": _entry(
        "critical",
        "A certificate in use was revoked.",
        "{path} not to be revoked",
        "revoked on {date}",
        REISSUE,
        _PKI,
    ),
    "pki_crl_missing": _entry(
        "critical",
        "There is no CRL where stratcon needs one: it refuses every broker.",
        "a CRL in {path}",
        "{detail}",
        _REFRESH + ", or " + _HOOPER,
        _PKI,
    ),
    "pki_crl_stale": _entry(
        "warning",
        "A CRL was not refreshed for longer than its schedule (weekly): the refresh does not work.",
        "{path} younger than {limit} days",
        "{age} old",
        _REFRESH + " and look at its output.",
        _PKI,
    ),
    "pki_crl_foreign": _entry(
        "error",
        "A CRL was not signed by the CA whose certificates it is for.",
        "{path} signed by {wanted}",
        "{issuer}",
        _REFRESH + ", or " + _HOOPER,
        _PKI,
    ),
    "pki_weak_key": _entry(
        "warning",
        "A key is shorter than 2048 bits (RSA) or 224 bits (EC).",
        "a key of sufficient size in {path}",
        "{detail}",
        REISSUE,
        "NIST SP 800-57 part 1",
    ),
    "pki_weak_signature": _entry(
        "warning",
        "A certificate is signed with a hash that is broken (MD5, SHA-1).",
        "{path} signed with SHA-2",
        "{detail}",
        REISSUE,
        "NIST SP 800-57 part 1",
    ),
    "pki_user_facing": _entry(
        "error",
        "A certificate for users is used between hosts, or one of the platform's own CA towards users.",
        "{path} of {wanted}",
        "{detail}",
        "Put the right certificate into {path} on {host}, then " + _RESTART,
        _PKI,
    ),
    "pki_keystore_missing": _entry(
        "error",
        "The Java keystore of fault_detection is missing.",
        "a keystore in {path}",
        "no such file",
        REISSUE,
        _PKI,
    ),
    "pki_keystore_stale": _entry(
        "warning",
        "The Java keystore of fault_detection is older than the files it is built from.",
        "{path} newer than {part}",
        "{age} older",
        REISSUE,
        _PKI,
    ),
    "pki_serial_duplicate": _entry(
        "error",
        "Two certificates of one CA have the same serial number: revoking one revokes both, TLS libraries refuse them.",
        "one certificate of {issuer} with the serial number {serial}",
        "others in {places}",
        "Look at the serial file of the CA, then " + REISSUE,
        _PKI,
    ),
    "pki_key_shared": _entry(
        "warning",
        "Two hosts have the same private key.",
        "a key of its own in {path}",
        "the key of {places}",
        REISSUE,
        _PKI,
    ),
    "pki_expiring": _entry(
        "warning",
        "A certificate or CRL expires soon (platform_check_expiry_days; an error by platform_check_expiry_soon_days).",
        "{path} valid for {limit} days",
        "{left} left",
        REISSUE,
        _PKI,
    ),
    "pki_ca_processor_down": _entry(
        "error",
        "The CA processor does not run: requests for certificates and the CRL wait.",
        "circonus-ca_processor running",
        "{state}",
        "service_operate.yml -e service_operate_role=ca -e service_operate_verb=restart -e circonus_confirm=ca",
        _PKI,
    ),
    # -- what TLS ports present, and connections between hosts
    "tls_not_listening": _entry(
        "error",
        "Nobody listens on the TLS port of a role.",
        "TLS on port {port}",
        "no connection ({detail}){evidence}",
        _RESTART,
        _PKI,
    ),
    "tls_hung": _entry(
        "error",
        "A TLS port accepts connections, but nobody answers on it.",
        "a TLS handshake on port {port}",
        "{detail}{evidence}",
        _RESTART,
        _PKI,
    ),
    "tls_plain": _entry(
        "error",
        "A port that must speak TLS answers without it: another program listens there, or TLS is switched off.",
        "TLS on port {port}",
        "an answer without it, {detail}{evidence}",
        "Look which program listens there on {host}; " + _RESTART,
        _PKI,
    ),
    "tls_handshake": _entry(
        "error",
        "A TLS port ends every handshake.",
        "a TLS handshake on port {port}",
        "{detail}{evidence}",
        "Read the log of {role} on {host}, then " + _RESTART,
        _PKI,
    ),
    "tls_stale": _entry(
        "warning",
        "A service presents another certificate than its file has: it was not restarted after a renewal. An error when "
        "its clients cannot trust what it presents, critical when that has expired.",
        "port {port} to present {path}",
        "{detail}{evidence}",
        _RESTART,
        _PKI,
    ),
    "tls_chain": _entry(
        "error",
        "A service does not present the authorities between its certificate and the CA.",
        "port {port} to present a chain that leads to {wanted}",
        "{detail}{evidence}",
        "Put the authorities behind the certificate into {path} on {host}, then " + _RESTART,
        _PKI,
    ),
    "tls_name": _entry(
        "warning",
        "A port for users presents a certificate that does not have the name they use (site.json).",
        "port {port} to present a certificate for {wanted}",
        "{names}",
        "Put a certificate with that name into {path} on {host}, then " + _RESTART,
        _PKI,
    ),
    "tls_client_unverified": _entry(
        "error",
        "A port that must only take clients with a certificate of the CA takes one without.",
        "port {port} to refuse a client without a certificate",
        "it was let in",
        _HOOPER + ", then " + _RESTART,
        _PKI,
    ),
    "tls_elsewhere": _entry(
        "error",
        "What answers at the address of a host is not that host: it presents another certificate.",
        "{server} at {address}",
        "another certificate than that host itself presents",
        "Compare the address of {to} in site.json or the inventory with the machine; look what forwards connections",
        _PKI,
    ),
    "tls_unreachable": _entry(
        "error",
        "A host cannot reach a TLS port that works on the host where it is.",
        "a connection to {server} at {address}",
        "{detail}{evidence}",
        "Look at firewalls and routes between {host} and {to}, port {port}",
        _PKI,
    ),
    "tls_untrusted": _entry(
        "error",
        "A role does not trust the certificate of a server that it needs, and no file shows why.",
        "{clients} to trust {server}",
        "{detail}{evidence}",
        "pki_connectivity.yml -e pki_connectivity_from={from_role} -e pki_connectivity_to={to_role}",
        _PKI,
    ),
    "tls_client_refused": _entry(
        "error",
        "A server refuses the certificate of a role that needs it, and no file shows why.",
        "{server} to accept {clients}",
        "{detail}{evidence}",
        "service_restart.yml -e service_restart_role={to_role} -e service_restart_limit={to} -e "
        "circonus_confirm={to_role}, because it may have read its ca.crt before that was replaced; then "
        "pki_connectivity.yml -e pki_connectivity_from={from_role} -e pki_connectivity_to={to_role}",
        _PKI,
    ),
    "cron_missing": _entry(
        "error",
        "A cron job of a role is missing.",
        "cron job {script}{user}",
        "no such job",
        _HOOPER,
        MANUAL + '"Hub"',
    ),
    "cron_wrong": _entry(
        "error",
        "A cron job of a role has no script, or runs as somebody else.",
        "cron job {script} of {user}",
        "{detail}",
        _HOOPER,
        MANUAL + '"Hub"',
    ),
    "default_credentials": _entry(
        "warning",
        "RabbitMQ takes the credentials that everybody knows (guest/guest) from other hosts.",
        "guest refused from other hosts",
        "guest/guest is taken",
        "Limit guest to the host itself (loopback_users), or change its password.",
        MANUAL + '"MQ"',
    ),
    # -- equal where it must be
    "release_mismatch": _entry(
        "error",
        "Hosts are on different releases; a mixture is not supported.",
        "release {wanted} as on {others}",
        "release {release}",
        "hooper_run.yml -e hooper_run_mode=full",
        MANUAL + '"Updates"',
    ),
    "version_mismatch": _entry(
        "warning",
        "A program of a role has another version than on the other hosts of the role.",
        "{package} {wanted} as on {others}",
        "{version}",
        "hooper_run.yml -e hooper_run_mode=full",
        MANUAL + '"Updates"',
    ),
    "site_missing": _entry(
        "error",
        "The host has no site.json that can be read: Hooper cannot run.",
        "the site.json of {site}",
        "{detail}",
        "site_distribute.yml",
        MANUAL + '"Hooper"',
    ),
    "site_differs": _entry(
        "error",
        "The installed site.json is not the one of the controller.",
        "site.json {wanted}",
        "{digest}",
        "site_check.yml -e site_check_installed=true shows it; site_distribute.yml, then hooper_run.yml",
        MANUAL + '"Hooper"',
    ),
    # -- the database
    "primary_none": _entry(
        "critical",
        "No database of the platform accepts writes.",
        "one primary database among {hosts}",
        "none",
        "web_db_failover.yml or datacenter_failover.yml with mode unplanned; with a half-done failover run it again",
        _DB,
    ),
    "primary_unknown": _entry(
        "error",
        "No primary was seen, and not every database host could be asked.",
        "one primary database among {hosts}",
        "none on the hosts that answer; {unknown} did not",
        "Look at {unknown}; when lost: web_db_failover.yml or datacenter_failover.yml with mode unplanned",
        _DB,
    ),
    "primary_multiple": _entry(
        "critical",
        "A second database accepts writes: data diverge with every write.",
        "{primary} to be the only primary",
        "{host} accepts writes too",
        "Stop the database of {host} now, then " + _REJOIN,
        _DB,
    ),
    "primary_not_master": _entry(
        "error",
        "The primary is another host than web_db.master in site.json: Hooper would work with the wrong one.",
        "{master} (web_db.master) to be the primary",
        "{host} is",
        "Run the web_db_failover.yml that was interrupted again, or correct web_db.master and run site_distribute.yml",
        _DB,
    ),
    "primary_in_standby_site": _entry(
        "critical",
        "The primary database is in the site that is not the active one.",
        "the primary in {active}",
        "{host} in {site} is primary",
        "Run the datacenter_failover.yml that was interrupted again",
        _DC,
    ),
    "database_down": _entry(
        "error",
        "The service of a database runs, but the database does not answer queries.",
        "a database that answers",
        "{detail}",
        "Read the log of the database on {host}, then " + _RESTART,
        _DB,
    ),
    "database_fenced": _entry(
        "error",
        "An old primary was fenced by a failover and waits to become a standby.",
        "a standby of {primary}",
        "fenced by run {run_id}",
        _REJOIN,
        _DB,
    ),
    "database_foreign": _entry(
        "critical",
        "A standby is not a copy of this platform's database.",
        "system identifier {wanted} as on {primary}",
        "{identifier}",
        _REJOIN + " -e web_db_rejoin_rebuild=always",
        _DB,
    ),
    "replica_detached": _entry(
        "error",
        "A standby does not receive from anybody: it falls behind and cannot take over.",
        "streaming from {upstream}",
        "{detail}",
        _REJOIN,
        _DB,
    ),
    "replica_upstream": _entry(
        "error",
        "A standby follows another host than it should.",
        "streaming from {upstream}",
        "streaming from {actual}",
        _REJOIN,
        _DB,
    ),
    "replica_timeline": _entry(
        "error",
        "A standby is on another timeline than the primary and cannot follow it.",
        "timeline {wanted} as on {primary}",
        "timeline {timeline}",
        _REJOIN,
        _DB,
    ),
    "replica_paused": _entry(
        "warning",
        "Replay is paused on a standby.",
        "replay to go on",
        "replay is paused",
        "select pg_wal_replay_resume() on {host} (pg_xlog_replay_resume before version 10)",
        _DB,
    ),
    "replica_lag": _entry(
        "warning",
        "A standby is behind by more than platform_check_lag_bytes.",
        "at most {limit} behind {upstream}",
        "{lag}",
        "Wait; when it grows, look at network and disk of {host}.",
        _DB,
    ),
    "guard_missing": _entry(
        "warning",
        "A database host has no guard against a second primary. Both failovers need it.",
        "the web_db guard installed",
        "not installed",
        "web_db_guard.yml",
        _COLLECTION,
    ),
    "guard_silent": _entry(
        "error",
        "The guard of a database host is installed, but does not run.",
        "the web_db guard awake",
        "{state}",
        "web_db_guard.yml",
        _COLLECTION,
    ),
    "guard_trouble": _entry(
        "error",
        "The guard of a database host reports trouble: it is cut off, or has seen a second primary.",
        "a quiet web_db guard",
        "{state}{message}",
        "Look at the network between the database hosts; a demoted primary needs " + _REJOIN,
        _COLLECTION,
    ),
    # -- RabbitMQ
    "mq_node_missing": _entry(
        "error",
        "A RabbitMQ host is not in the cluster of its site.",
        "{host} in the RabbitMQ cluster of {site}",
        "running nodes: {nodes}",
        _RESTART_NODE,
        _MQ,
    ),
    "mq_partition": _entry(
        "critical",
        "The RabbitMQ cluster of a site has fallen apart: messages are lost on one side.",
        "no partition in the RabbitMQ cluster of {site}",
        "partitioned from {nodes}",
        "Mend the network, then "
        + _RESTART_NODE
        + ", then service_restart_dependents.yml -e service_restart_dependents_of=mq",
        _MQ,
    ),
    "mq_alarm": _entry(
        "critical",
        "RabbitMQ has an alarm (memory, disk) and takes no messages.",
        "no alarm",
        "{alarms}",
        "Give {host} memory or disk space; the alarm ends by itself.",
        _MQ,
    ),
    # -- stratcon and the brokers
    "broker_disconnected": _entry(
        "error",
        "Stratcon is not connected to a broker that runs: its data do not arrive. A warning for a broker that is not "
        "in the inventory.",
        "stratcon on {stratcon} connected to {broker}",
        "{feeds} disconnected, last connected {when}",
        "The reason is in /var/log/circonus/stratcon.log on {stratcon}: the way to port 43191 of {broker}, or its "
        "certificate. Then " + _RESTART,
        _TRACE,
    ),
    "broker_silent": _entry(
        "warning",
        "Stratcon is connected to a broker, but nothing comes from it (platform_check_broker_silent_s).",
        "an event of {broker} on {stratcon} within {limit}",
        "the last one {age} ago",
        "Read /opt/noit/prod/log/noitd.log on {broker}, then " + _RESTART,
        _TRACE,
    ),
    "broker_unlisted": _entry(
        "error",
        "A broker of the inventory is unknown to stratcon: it is not activated, or the hub has not told stratcon.",
        "{broker} among the brokers of stratcon on {stratcon}",
        "no such broker",
        "Look whether {broker} is active on the page Account: Brokers; on a hub: /www/bin/noit/stratcon_sync.pl",
        MANUAL + '"Hub"',
    ),
    "brokers_lost": _entry(
        "critical",
        "A stratcon has lost all of its brokers at once: no data arrive in its site.",
        "stratcon connected to its {number} brokers",
        "all of them disconnected",
        "Read /var/log/circonus/stratcon.log on {host}: network, certificate or CRL. Then " + _RESTART,
        _PKI,
    ),
    # -- the data storage clusters (data_storage_status.yml)
    "storage_cluster_silent": _entry(
        "critical",
        "No node of a data storage cluster tells its topology to any host that was asked.",
        "a node that tells the topology of the cluster",
        "{detail}",
        "Start circonus-snowth on its hosts, one after another: " + _START,
        _STORAGE,
    ),
    "storage_node_down": _entry(
        "error",
        "A data storage node does not serve. Critical when so many do not that data cannot be read.",
        "a node that answers",
        "{detail}",
        "Look at /snowth/logs/errorlog on {host}, then " + _START,
        _STORAGE,
    ),
    "storage_identity": _entry(
        "error",
        "site.json, the topology, the disks and what answers do not agree which host has which node.",
        "every host to be one certain node",
        "{detail}",
        "Nothing may be done to the cluster before that is explained. Correct the one that is wrong",
        _STORAGE,
    ),
    "storage_topology": _entry(
        "error",
        "A node works with another topology than its cluster.",
        "the topology of the cluster",
        "{detail}",
        "Restart no node before that is explained: compare /opt/circonus/etc/topology.conf on all of them",
        _STORAGE,
    ),
    "storage_rebalance": _entry(
        "warning",
        "A rebalance is running: data are read by the old layout, and nothing may be restarted.",
        "no rebalance",
        "{detail}",
        "Wait for its end",
        _STORAGE,
    ),
    "storage_reconstitute": _entry(
        "warning",
        "A node is being rebuilt: one copy less is served, and nothing may be restarted.",
        "no reconstitute",
        "{detail}",
        "Wait for its end",
        _STORAGE,
    ),
    "storage_gossip": _entry(
        "error",
        "A node is not heard of by another one, or gossip about it is old. For information while it is only late.",
        "gossip about every node, not older than {limit} s",
        "{detail}",
        "Look at udp port 8112 between the hosts and at their clocks",
        _STORAGE,
    ),
    "storage_behind": _entry(
        "warning",
        "A node is 30 s or more behind another one; an error from 270 s on.",
        "a latency below {limit} s",
        "{detail}",
        "Wait; when it never falls, look at the clocks, and at CPU and disks of {host}",
        _STORAGE,
    ),
    "storage_one_copy": _entry(
        "warning",
        "A cluster keeps one copy of everything: no node can be spared.",
        "at least two write copies",
        "one",
        "A cluster with more copies is a new one; data have to be moved to it with the help of support",
        _STORAGE,
    ),
    "storage_space": _entry(
        "warning",
        "A node uses more of its store than data_storage_status_used_percent; an error from _full_percent on.",
        "at most {limit} % used",
        "{percent} % used, {free} free",
        "Set data_storage.rollup_retention in site.json, or before the release of 2021-06-28 data_storage_sweep.yml; "
        "more nodes help when it grows",
        "IRONdb manual",
    ),
    "storage_versions": _entry(
        "warning",
        "Nodes of a cluster have different versions: no rebuild and no rebalance between them.",
        "the same version on every node",
        "{detail}",
        "hooper_run.yml -e hooper_run_mode=full, then data_storage_restart.yml -e circonus_confirm=data_storage",
        MANUAL + '"Updates"',
    ),
    "storage_sweeping": _entry(
        "info",
        "A node deletes old data.",
        "no delete sweep",
        "{detail}",
        "Wait for its end, or data_storage_sweep.yml -e data_storage_sweep_state=cancelled",
        MANUAL + '"Delete Sweep"',
    ),
    # -- the sites
    "site_both_active": _entry(
        "critical",
        "The web frontends of both sites call themselves active.",
        "{site} to say STANDBY",
        "ACTIVE, as in {active}",
        "Change nothing by hand; run the interrupted datacenter_failover.yml again, else site_distribute.yml and "
        "hooper_run.yml in {site}",
        _DC,
    ),
    "site_none_active": _entry(
        "critical",
        "No web frontend calls its site active: a failover is half done.",
        "{site} to say ACTIVE",
        "STANDBY in every site",
        "Run the datacenter_failover.yml that was interrupted again",
        _DC,
    ),
    "status_disagrees": _entry(
        "error",
        "The /status page of a web frontend says the opposite of site.json.",
        "/status to say {wanted}",
        "{state}",
        "hooper_run.yml --limit {host}",
        _DC,
    ),
    "status_unknown": _entry(
        "warning",
        "The /status page of a web frontend says neither ACTIVE nor STANDBY.",
        "ACTIVE or STANDBY on /status",
        "{detail}",
        _RESTART,
        _DC,
    ),
    "alerting_in_standby": _entry(
        "critical",
        "Fault detection or notification runs in the standby site: users are alerted twice.",
        "{unit} stopped in the standby site {site}",
        "running",
        _STOP,
        _DC,
    ),
    "ca_elsewhere": _entry(
        "critical",
        "A second CA host signs certificates.",
        "{unit} only on {primary} (ca.primary)",
        "running",
        _STOP,
        _DC,
    ),
    # -- data_storage nodes
    "storage_silent": _entry(
        "error",
        "A data_storage node does not answer on its own host.",
        "the node to answer for itself",
        "{why}",
        "Read /snowth/logs/errorlog and startuplog on {host}, then " + _START,
        _STORE,
    ),
    "storage_watchdog": _entry(
        "error",
        "The watchdog killed the child of a data_storage node, because it missed its heartbeats: CPU, IO or memory is "
        "short, or a disk fails.",
        "no child that is killed",
        "{count} in {hours} h, the last: {line}",
        _FOREGROUND,
        _STORE,
    ),
    "storage_crash": _entry(
        "error",
        "The child of a data_storage node crashed.",
        "no child that crashes",
        "{count} in {hours} h, the last: {line}",
        "Send the evidence and the crash dump to support. If it goes on: " + _FOREGROUND,
        _STORE,
    ),
    "storage_gave_up": _entry(
        "error",
        "The watchdog of a data_storage node gave up after too many starts of its child.",
        "a child that stays",
        "{count} in {hours} h, the last: {line}",
        "Read the lines before it in /snowth/logs/errorlog on {host}; mend that, then " + _START,
        _STORE,
    ),
    "storage_dumps": _entry(
        "warning",
        "A data_storage host has new crash dumps or traces.",
        "none",
        "{count} in {hours} h, the newest {path}",
        "Send the evidence to support and ask for a place for the dump",
        _STORE,
    ),
    "storage_damaged": _entry(
        "error",
        "The log of a data_storage node calls a LevelDB store damaged, and it was not repaired since.",
        "{store} to open",
        "{line}",
        "data_storage_repair.yml -e data_storage_repair_limit={host} -e circonus_confirm={host}",
        MANUAL + '"Repairing Corrupt LevelDB Data Stores"',
    ),
    "storage_beyond": _entry(
        "error",
        "The log of a data_storage node calls a store damaged for which no repair is documented.",
        "{store} to open",
        "{line}",
        "{why}",
        MANUAL + '"Reconstituting a Data Storage node"',
    ),
    "storage_cpu": _entry(
        "warning",
        "The CPUs of a data_storage host are busy (data_storage_diagnose_cpu_percent).",
        "CPU busy below {limit} %",
        "{busy} %, load {load} on {cpus} CPUs",
        "Look what takes it on {host} (top); the node needs 16 CPUs of its own",
        _STORE,
    ),
    "storage_iowait": _entry(
        "warning",
        "The CPUs of a data_storage host wait for its disks (data_storage_diagnose_iowait_percent).",
        "CPU waiting for IO below {limit} %",
        "{wait} %",
        "Look which disk is slow on {host} (iostat -x 5), and whether a scrub or a rebuild runs",
        _STORE,
    ),
    "storage_disk_busy": _entry(
        "warning",
        "A disk of a data_storage host works all the time (data_storage_diagnose_disk_percent).",
        "{disk} busy below {limit} %",
        "{busy} %, {wait} ms for an operation",
        "Look whether it is slower than the others on {host} (iostat -x 5); a slow one among equals is about to fail",
        _STORE,
    ),
    "storage_disk_errors": _entry(
        "error",
        "A disk of a data_storage host has errors that were not corrected, or calls itself unhealthy.",
        "no uncorrected errors on {disk}",
        "{errors}",
        "Replace {disk} of {host} (smartctl -a /dev/{disk})",
        _STORE,
    ),
    "storage_smart_missing": _entry(
        "info",
        "The health of the disks of a data_storage host was not read.",
        "smartctl to be installed",
        "none",
        "Install the package smartmontools on {host}",
        _STORE,
    ),
    "storage_pool": _entry(
        "error",
        "A ZFS pool of a data_storage host is not healthy.",
        "all pools healthy",
        "{said}",
        "zpool status -v on {host}; replace what it names",
        _STORE,
    ),
    "storage_memory": _entry(
        "warning",
        "A data_storage host has little memory left (data_storage_diagnose_memory_percent).",
        "{limit} % of the memory available",
        "{available} %",
        "Look what takes it on {host} (top); when it is the node, ask support",
        _STORE,
    ),
    "storage_oom": _entry(
        "error",
        "The kernel of a data_storage host ended processes because memory ran out.",
        "none since the boot",
        "{count}",
        "Look which (dmesg) on {host}; nothing else may run on a host of the node",
        _STORE,
    ),
    "storage_disk_full": _entry(
        "warning",
        "The file system of a data_storage node is fuller than it should be (data_storage_diagnose_space_percent).",
        "{mount} used below {limit} %",
        "{used} %",
        "Shorten the retention, or add nodes: nodes should run below 70 %",
        _STORE,
    ),
}


def fields(finding_id: str) -> set:
    """Placeholders that the templates of an id need, besides role, host and site."""
    entry = REGISTER[finding_id]
    text = entry["expected"] + entry["found"] + entry["remedy"]
    return {name for _text, name, _spec, _conv in string.Formatter().parse(text) if name} - {"role", "host", "site"}


def where(role, host, site) -> str:
    """``mq on east-app1``, ``east-app1``, ``mq of east``, ``site east`` or ``the platform``."""
    if host:
        return "%s on %s" % (role, host) if role else host
    if site:
        return "%s of %s" % (role, site) if role else "site %s" % site
    return role or "the platform"


def make(finding_id: str, host=None, role=None, site=None, severity=None, remedy=None, **values) -> dict:
    """A finding of the register. ``values`` fill its templates; ``severity`` and ``remedy`` replace the usual ones.

    Raises KeyError for an id that is not registered and for a missing placeholder: both are mistakes of the caller.
    """
    entry = REGISTER[finding_id]
    known = dict(values, host=host or "the host", role=role or "the role", site=site or "the platform")
    expected, found = entry["expected"].format(**known), entry["found"].format(**known)
    return {
        "id": finding_id,
        "severity": severity or entry["severity"],
        "role": role,
        "host": host,
        "site": site,
        "what": "%s: expected %s, found %s." % (where(role, host, site), expected, found.rstrip(".")),
        "expected": expected,
        "found": found,
        "remedy": (remedy or entry["remedy"]).format(**known),
        "source": entry["source"],
    }


def pki_remedy(finding_id: str, kind: str | None, role: str | None, own: bool = False, days: float = 0) -> str:
    """Template of the remedy of a finding about a file of the PKI.

    ca_reissue.yml is the remedy for what has a certificate between hosts made by Hooper, and only for that. kind, role:
    of the file. own: it is one of the operator's own, of which no page of the manual tells. days: left of which a
    certificate counts as expiring, where that is more than ca_reissue.yml takes by itself.
    """
    usual = REGISTER[finding_id]["remedy"]
    if role == "broker":
        return usual.replace(REISSUE, _BROKER).replace(_HOOPER, _BROKER)
    if REISSUE not in usual:
        return usual
    if kind == "crl":
        return _REFRESH + ", or " + _HOOPER
    if kind == "user_facing":
        return _USERS
    if role == "ca" or (kind == "ca" and finding_id not in CA_COPY):
        return _AUTHORITY
    if own or not role or (kind == "keystore" and not finding_id.startswith("pki_keystore")):
        return usual.replace(REISSUE, _HOOPER if finding_id == "pki_missing" else _ANEW)
    more = " -e ca_reissue_expiry_days=%d" % math.ceil(days) if finding_id == "pki_expiring" and days > 30 else ""
    return usual + more


def primary_lost(start: str) -> str:
    """The remedy when the host or service of the primary is lost; ``start`` is how it is started."""
    return _LOST.replace("{start}", start)


def rank(severity: str) -> int:
    """0 for critical, the worst."""
    return SEVERITIES.index(severity)


def worst(findings) -> str | None:
    """The worst severity among findings, None without any."""
    return min((item["severity"] for item in findings), key=rank, default=None)


def at_least(findings, severity: str) -> list:
    """Findings of a severity or a worse one."""
    return [item for item in findings if rank(item["severity"]) <= rank(severity)]


def counts(findings) -> dict:
    """{severity: number} of all four severities."""
    return {severity: sum(item["severity"] == severity for item in findings) for severity in SEVERITIES}


def count_text(findings) -> str:
    """``1 critical, 2 errors``; ``no findings`` without any."""
    plural = {"critical": "critical", "error": "errors", "warning": "warnings", "info": "for information"}
    parts = []
    for severity, number in counts(findings).items():
        if number:
            parts.append("%d %s" % (number, severity if number == 1 and severity != "info" else plural[severity]))
    return ", ".join(parts) or "no findings"


def conclusion(findings, fail_on: str, whole: str) -> tuple:
    """(failed, sentence) of a check. findings: worst first. whole: the sentence about what is well, without its end.

    What stays below ``fail_on`` is still told: nobody may take it for nothing.
    """
    text = count_text(findings)
    if at_least(findings, fail_on):
        return True, "%s; the worst: %s" % (text[:1].upper() + text[1:], findings[0]["what"])
    return False, whole + (" (%s below %s)." % (text, fail_on) if findings else ".")


def worst_first(findings) -> list:
    """Sorted worst first, then by site, host, role and id; the same finding of one place only once."""
    unique = {}
    for item in findings:
        key = tuple(item[name] or "" for name in ("id", "site", "host", "role", "expected", "found"))
        known = unique.get(key)
        if known is None or rank(item["severity"]) < rank(known["severity"]):
            unique[key] = item
    return sorted(
        unique.values(),
        key=lambda item: (
            rank(item["severity"]),
            *(item[name] or "" for name in ("site", "host", "role", "id", "expected", "found")),
        ),
    )


def table() -> list:
    """Lines of the tables of docs/findings.md: one table for each severity, ids sorted."""
    out = []
    for severity in SEVERITIES:
        out += ["## %s" % severity.capitalize(), "", "| Id | Meaning | Remedy | Source |", "|---|---|---|---|"]
        for name in sorted(name for name, entry in REGISTER.items() if entry["severity"] == severity):
            entry = REGISTER[name]
            cells = [entry[key].replace("|", "\\|").replace("<", "&lt;") for key in ("meaning", "remedy", "source")]
            out.append("| `%s` | %s |" % (name, " | ".join(cells)))
        out.append("")
    return out
