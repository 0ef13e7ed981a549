"""Roles stratcon, caql_broker and web_stream: what moves metrics."""

from hooper import certificates

STRATCON, CAQL, ENZO, ENZO_C = "circonus-stratcon", "caql-broker", "circonus-enzo", "circonus-enzo-c"
BIN = "/opt/circonus/libexec/lab/bin"
ETC, LOG = "/opt/noit/prod/etc", "/opt/noit/prod/log"
PKI = "/opt/noit/web/stratcon/pki"
CRONTAB = "/var/spool/cron/crontabs/root"
MARK = "# Written by Hooper (lab stand-in); edits are lost\n"


def stratcon(run, site, facts, name):
    for path in (ETC, LOG, PKI):
        run.directory(path)
    run.directory("/opt/circonus/var/stratcon", 0o755, "circonus")
    run.link("/opt/noit/prod/sbin/stratcond", f"{BIN}/stratcond")
    run.link("/opt/circonus/bin/refresh-crl", f"{BIN}/refresh-crl")
    run.link("/opt/noit/prod/bin/noit_version_check.js", f"{BIN}/hub-script")
    run.file(f"{ETC}/stratcon.conf", "<!-- LAB STAND-IN: brokers come by /noits/set, see hub -->\n<stratcon/>\n")
    certificates.revocations(run, site, f"{PKI}/ca.crl")
    # The list is refreshed every week, by a line of root's own crontab.
    run.file(CRONTAB, MARK + "17 3 * * 0 /opt/circonus/bin/refresh-crl\n", 0o600, "root", "crontab")
    run.file("/etc/cron.d/circonus-stratcon", MARK + "* * * * * root /opt/noit/prod/bin/noit_version_check.js\n")
    run.unit_file(STRATCON)
    run.later([STRATCON], restart=run.settings_changed)


def caql_settings(site):
    """circonus-caql-broker.conf: one queue of the site, the API hosts and the data store; then the operator's file."""
    role = site.role("caql_broker")
    first = (site.hosts("mq") or ["localhost"])[0]
    storage = (site.hosts("data_storage") or [None])[0]
    lines = ["<network>", "  <in>", '    <mq type="fq">', f"      <host>{first}</host>", "      <port>8765</port>"]
    lines += ["      <user>caql-broker</user>", "      <pass></pass>", "      <exchange>noit.firehose</exchange>"]
    lines += ["      <program>prefix:&quot;check.&quot;</program>", "    </mq>", "  </in>", "</network>"]
    lines += ['<caqlbroker window_timeout="30">', '  <api batch_size="1000" global_concurrency="10" timeout="30">']
    lines += [f"    <token>{role.get('registration_token', '')}</token>"]
    lines += [f'    <node address="{site.address(host)}" host="{host}" port="8080"/>' for host in site.hosts("api")]
    lines += ["  </api>", '  <snowth concurrency="3" timeout="30">']
    if storage:
        lines.append(f'    <node address="{site.address(storage)}" host="{storage}" port="8112"/>')
    return "\n".join([*lines, "  </snowth>", "</caqlbroker>"]) + "\n"


def caql_broker(run, site, facts, name):
    run.directory(ETC)
    run.directory(LOG, 0o755, "circonus")
    run.once(f"{ETC}/circonus-caql-broker.conf", caql_settings(site), 0o640, "root", "circonus")
    run.file(f"{ETC}/circonus-logs.conf", "<!-- LAB STAND-IN: messages.log and cluster.log are off -->\n<logs/>\n")
    run.unit_file(CAQL)
    run.later([CAQL], restart=run.settings_changed)


def web_stream(run, site, facts, name):
    wanted, gone = (ENZO, ENZO_C) if facts["edition"] == "2019" else (ENZO_C, ENZO)
    run.remove_unit(gone)
    run.unit_file(wanted)
    run.later([wanted], restart=run.settings_changed)
