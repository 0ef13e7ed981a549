# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_stores
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, Refused, TimedOut

NODE = "a0000000-0000-4000-8000-000000000002"
STAMP = "20260101T000000Z"


class Pool:
    """Data sets as zfs tells them; a directory of the same name stands for the mount. Counts what is destroyed."""

    def __init__(self, root, names=irondb_stores.STORES, base="tank/snowth", free=10**12):
        self.root, self.base, self.free, self.clock = str(root), base, free, 1000
        self.sets, self.destroyed, self.calls = {}, [], []
        self.fail = None
        for name in names:
            self.create("{0}/{1}".format(base, name), {})
            os.makedirs(os.path.join(self.root, name, NODE))

    def create(self, name, options):
        self.clock += 1
        self.sets[name] = {"created": str(self.clock), "mounted": True, "options": options, "used": 1000}
        holder = self.holder(name)
        if not os.path.isdir(holder):
            os.makedirs(holder)

    def holder(self, name):
        return os.path.join(self.root, name.rsplit("/", 1)[1])

    def run(self, argv, timeout=0):
        self.calls.append(argv)
        if self.fail and self.fail(argv):
            raise CommandFailed("killed before it")
        name = argv[-1]
        if argv[:2] == ["zfs", "list"] and "-r" not in argv:
            return self.base + "\n"
        if argv[:2] == ["zfs", "list"] and name != self.base:
            return "".join(one + "\n" for one in sorted(self.sets) if (one + "/").startswith(name + "/"))
        if argv[:2] == ["zfs", "list"]:
            rows = ["{0}\t{1}".format(self.base, self.root)]
            return "\n".join(rows + ["{0}\t{1}".format(one, self.holder(one)) for one in self.sets]) + "\n"
        if argv[:2] == ["zfs", "get"]:
            if name != self.base and name not in self.sets:
                raise CommandFailed("cannot open '{0}': dataset does not exist".format(name))
            if "available" in argv:
                return "{0}\n".format(self.free)
            if "creation" in argv:
                return self.sets[name]["created"] + "\n"
            if "used" in argv:
                return "{0}\n".format(self.sets[name]["used"])
            return "".join("{0}\t{1}\tlocal\n".format(*pair) for pair in sorted(self.sets[name]["options"].items()))
        if argv[:2] == ["zpool", "get"]:
            return "NAME PROPERTY VALUE SOURCE\ntank freeing 0 -\n"
        if argv[1] == "set":
            self.sets[name]["options"]["canmount"] = "noauto"
        elif argv[1] == "unmount":
            below = [one for one in self.sets if one.startswith(name + "/") and self.sets[one]["mounted"]]
            if below:
                raise CommandFailed("cannot unmount '{0}': {1} is below it".format(name, below[0]))
            if not self.sets[name]["mounted"]:
                raise CommandFailed("cannot unmount '{0}': not currently mounted".format(name))
            self.sets[name]["mounted"] = False
            for inside in os.listdir(self.holder(name)):
                os.rmdir(os.path.join(self.holder(name), inside))
        elif argv[1] == "rename":
            assert argv[3] not in self.sets
            for one in [one for one in self.sets if (one + "/").startswith(argv[2] + "/")]:
                self.sets[argv[3] + one[len(argv[2]):]] = self.sets.pop(one)
        elif argv[1] == "destroy":
            for one in [one for one in self.sets if (one + "/").startswith(name + "/")]:
                self.destroyed.append((one, self.sets.pop(one)["created"]))
        elif argv[1] == "create":
            self.create(name, dict(option.split("=", 1) for option in argv[3:-1:2]))
        else:
            raise AssertionError(argv)
        return ""


@pytest.fixture
def zfs_is_there(monkeypatch):
    monkeypatch.setattr(irondb_stores.programs, "find_program", lambda name: "/sbin/" + name)
    monkeypatch.setattr(irondb_stores, "is_zfs", lambda path: True)


@pytest.fixture
def pool(tmp_path, zfs_is_there):
    return Pool(tmp_path)


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """Stores in directories; no ZFS on this host."""
    monkeypatch.setattr(irondb_stores, "is_zfs", lambda path: False)
    for store in ("data", "text", "raw_db", "surrogate_db"):
        (tmp_path / store / NODE).mkdir(parents=True)
    (tmp_path / "data" / NODE / "numbers").write_text("x" * 5000)
    (tmp_path / "text" / NODE / "CURRENT").write_text("x")
    (tmp_path / "raw_db" / NODE / "deep").mkdir()
    (tmp_path / "raw_db" / NODE / "deep" / "one").write_text("x")
    return tmp_path


def finish(kept, run=irondb_stores.zfs):
    """Do all steps of a store; their names."""
    done = []
    while True:
        step = irondb_stores.next_step(kept, irondb_stores.look(kept, run))
        if step == "done":
            return done
        assert len(done) < 8, done
        irondb_stores.carry_out(step, kept, run)
        done.append(step)


class TestRead:
    def test_data_sets_that_exist_and_no_others(self, tmp_path, zfs_is_there):
        given = Pool(tmp_path, names=("data", "text", "nntbs"))
        (tmp_path / "logs").mkdir()
        base, stores, disk = irondb_stores.read(NODE, (), str(tmp_path), given.run)
        assert [item["dataset"] for item in stores] == ["tank/snowth/data", "tank/snowth/text", "tank/snowth/nntbs"]
        assert base["free"] == 10**12 and base["pool"] == "tank" and disk["data"] == [NODE]

    def test_later_stores_only_when_asked_for(self, pool, tmp_path):
        (tmp_path / "metadata" / NODE).mkdir(parents=True)
        (tmp_path / "localstate").mkdir()
        names = [item["store"] for item in irondb_stores.read(NODE, (), str(tmp_path), pool.run)[1]]
        assert names == list(irondb_stores.STORES)
        _base, stores, disk = irondb_stores.read(NODE, ("metadata", "localstate"), str(tmp_path), pool.run)
        assert [(item["store"], item["kind"]) for item in stores[-2:]] == [
            ("metadata", "directory"), ("localstate", "directory")]
        assert stores[-1]["path"] == str(tmp_path / "localstate") and "localstate" not in disk

    def test_directories_where_there_is_no_zfs(self, plain):
        base, stores, disk = irondb_stores.read(NODE, (), str(plain))
        assert base["name"] == "" and base["free"] > 0
        found = {item["store"]: item for item in stores}
        assert sorted(found) == ["data", "raw_db", "surrogate_db", "text"] and disk["text"] == [NODE]
        assert found["data"]["used"] >= 5000 and not found["data"]["empty"] and found["surrogate_db"]["empty"]

    def test_a_data_set_elsewhere_refuses(self, pool, tmp_path):
        pool.holder = lambda name: "/elsewhere"
        with pytest.raises(Refused) as caught:
            irondb_stores.read(NODE, (), str(tmp_path), pool.run)
        assert "found its mount point /elsewhere" in str(caught.value)

    def test_another_node_in_a_store_is_seen(self, plain):
        other = "b0000000-0000-4000-8000-000000000001"
        (plain / "text" / other).mkdir()
        assert irondb_stores.read(NODE, (), str(plain))[2]["text"] == [NODE, other]


class TestDecide:
    def item(self, **more):
        return dict({"store": "data", "used": 1000, "empty": False, "movable": True, "why": ""}, **more)

    def test_set_aside_where_there_is_room_for_both(self):
        choice = irondb_stores.decide([self.item(), self.item(used=500)], 1650)
        assert choice["action"] == "aside" and choice["need"] == 1650 and choice["used"] == 1500

    @pytest.mark.parametrize("items, free, words", [
        ([dict(used=1000)], 1099, "are needed to rebuild"),
        ([dict(used=None)], 10**9, "could not be measured"),
        ([dict(movable=False, why="/snowth/data/x is on another file system")], 10**9, "another file system"),
    ])
    def test_otherwise_it_says_why_not(self, items, free, words):
        choice = irondb_stores.decide([self.item(**more) for more in items], free)
        assert choice["action"] == "destroy" and words in choice["reason"]

    def test_an_empty_store_needs_nothing(self):
        assert irondb_stores.decide([self.item(empty=True, movable=False, used=None)], 0)["action"] == "aside"


def jobs(root, action, run=irondb_stores.zfs):
    base, stores, _disk = irondb_stores.read(NODE, (), str(root), run)
    return [irondb_stores.job(item, action, STAMP, base["name"], str(root)) for item in stores]


class TestDirectories:
    def test_the_old_one_is_kept_and_a_new_one_made_as_it_was(self, plain):
        os.chmod(str(plain / "data" / NODE), 0o750)
        for kept in jobs(plain, "aside"):
            assert finish(kept) == ([] if kept["store"] == "surrogate_db" else ["move", "create"])
        assert (plain / "aside" / STAMP / "data" / NODE / "numbers").read_text() == "x" * 5000
        assert os.listdir(str(plain / "data")) == [NODE] and os.listdir(str(plain / "data" / NODE)) == []
        assert os.stat(str(plain / "data" / NODE)).st_mode & 0o777 == 0o750

    def test_twice_does_nothing_more(self, plain):
        given = jobs(plain, "aside")
        for kept in given:
            finish(kept)
        (plain / "data" / NODE / "new").write_text("new")
        assert all(finish(kept) == [] for kept in given)
        assert (plain / "data" / NODE / "new").exists()

    def test_where_it_was_confirmed_it_is_destroyed_once(self, plain):
        given = jobs(plain, "destroy")
        assert finish(given[0]) == ["move", "empty", "create", "drop"]
        (plain / "data" / NODE / "new").write_text("new")
        assert finish(given[0]) == [] and (plain / "data" / NODE / "new").exists()
        assert not (plain / "aside").exists()

    @pytest.mark.parametrize("action", ["aside", "destroy"])
    @pytest.mark.parametrize("cut", range(5))
    def test_killed_between_any_two_steps_it_goes_on(self, plain, action, cut):
        for kept in jobs(plain, action):
            for _number in range(cut):
                step = irondb_stores.next_step(kept, irondb_stores.look(kept))
                if step != "done":
                    irondb_stores.carry_out(step, kept)
            again = finish(kept)
            if cut:
                assert "move" not in again
            assert os.listdir(kept["path"]) == []
        assert (plain / "aside").exists() == (action == "aside")

    def test_on_a_file_system_of_its_own_it_is_destroyed_there(self, plain):
        _base, stores, _disk = irondb_stores.read(NODE, (), str(plain))
        kept = irondb_stores.job(dict(stores[0], movable=False), "destroy", STAMP, "", str(plain))
        assert os.path.dirname(kept["aside"]) == kept["holder"]
        assert finish(kept) == ["move", "empty", "create", "drop"] and os.listdir(str(plain / "data")) == [NODE]

    def test_what_lies_at_the_place_refuses(self, plain):
        (plain / "aside" / STAMP / "data" / NODE).mkdir(parents=True)
        with pytest.raises(Refused):
            finish(jobs(plain, "aside")[0])
        assert (plain / "data" / NODE / "numbers").exists()


class TestDataSets:
    def test_renamed_and_made_anew_with_what_was_set_on_it(self, pool, tmp_path):
        pool.sets["tank/snowth/text"]["options"] = {"compression": "lz4", "recordsize": "16K"}
        old = {name: one["created"] for name, one in pool.sets.items()}
        for kept in jobs(tmp_path, "aside", pool.run):
            assert finish(kept, pool.run) == ["move", "create", "node"]
        assert pool.destroyed == [] and len(pool.sets) == 14
        for store in irondb_stores.STORES:
            aside = pool.sets["tank/snowth/aside-%s-%s" % (STAMP, store)]
            assert aside["created"] == old["tank/snowth/" + store] and aside["options"]["canmount"] == "noauto"
            assert pool.sets["tank/snowth/" + store]["options"].get("logbias") == (
                "throughput" if store in ("raw_db", "surrogate_db") else None)
            assert (tmp_path / store / NODE).is_dir()
        assert pool.sets["tank/snowth/text"]["options"]["recordsize"] == "16K"

    def test_one_with_others_below_it_goes_with_them(self, pool, tmp_path):
        pool.create("tank/snowth/data/" + NODE, {})
        given = jobs(tmp_path, "aside", pool.run)
        assert finish(given[0], pool.run) == ["move", "create", "node"]
        assert "tank/snowth/aside-%s-data/%s" % (STAMP, NODE) in pool.sets

    def test_destroyed_once_and_only_what_was_set_aside(self, pool, tmp_path):
        old = {name: one["created"] for name, one in pool.sets.items()}
        given = jobs(tmp_path, "destroy", pool.run)
        for kept in given:
            assert finish(kept, pool.run) == ["move", "drop", "create", "node"]
        assert all(finish(kept, pool.run) == [] for kept in given)
        assert sorted(created for _name, created in pool.destroyed) == sorted(old.values())
        assert all("/aside-" in name for name, _created in pool.destroyed)

    @pytest.mark.parametrize("action", ["aside", "destroy"])
    @pytest.mark.parametrize("verb", ["set", "unmount", "rename", "create", "destroy"])
    @pytest.mark.parametrize("number", [0, 1, 5])
    def test_killed_before_any_command_it_goes_on(self, pool, tmp_path, action, verb, number):
        given, seen = jobs(tmp_path, action, pool.run), []
        old = {name: one["created"] for name, one in pool.sets.items()}

        def fail(argv):
            if argv[1] == verb:
                seen.append(argv)
            return argv[1] == verb and len(seen) == number + 1

        pool.fail = fail
        for _attempt in range(3):
            try:
                for kept in given:
                    finish(kept, pool.run)
            except CommandFailed:
                continue
        assert all(finish(kept, pool.run) == [] for kept in given)
        lost = [created for _name, created in pool.destroyed]
        assert len(lost) == len(set(lost)) and set(lost) == (set(old.values()) if action == "destroy" else set())
        kept_sets = {one["created"] for one in pool.sets.values()}
        assert action == "destroy" or set(old.values()) <= kept_sets


class TestIsZfs:
    MOUNTS = ("/dev/sda1 / xfs rw 0 0\nproc /proc proc rw 0 0\ntank/snowth /snowth zfs rw 0 0\n"
              "tank/snowth/data /snowth/data zfs rw 0 0\n/dev/sdb /snowth/hist ext4 rw 0 0\nx /other fuse.zfs rw 0 0\n")

    @pytest.mark.parametrize("path, answer", [("/snowth", True), ("/snowth/data/x", True), ("/snowth/", True),
                                              ("/snowth/hist", False), ("/snowthere", False), ("/var", False),
                                              ("/other", True)])
    def test_by_the_mount_that_holds_a_path(self, tmp_path, path, answer):
        (tmp_path / "mounts").write_text(self.MOUNTS)
        assert irondb_stores.is_zfs(path, str(tmp_path / "mounts")) is answer

    def test_a_later_mount_covers_an_earlier_one(self, tmp_path):
        (tmp_path / "mounts").write_text(self.MOUNTS + "/dev/sdc /snowth ext4 rw 0 0\n")
        assert not irondb_stores.is_zfs("/snowth", str(tmp_path / "mounts"))

    def test_a_zfs_that_does_not_answer_is_not_taken_for_none(self, tmp_path, zfs_is_there):
        def run(argv, timeout=0):
            raise CommandFailed("zfs list ended with exit code 1: connect: no. Look at the pool.")

        with pytest.raises(CommandFailed):
            irondb_stores.read(NODE, (), str(tmp_path), run)


class TestZfs:
    def test_busy_is_tried_again_and_other_errors_are_told(self, zfs_is_there, monkeypatch):
        monkeypatch.setattr(irondb_stores.time, "sleep", lambda seconds: None)
        answers = [(1, "", "cannot rename: dataset is busy\n"), (0, "x\n", "")]
        assert irondb_stores.zfs(["zfs", "x"], runner=lambda argv, timeout: answers.pop(0)) == "x\n"
        with pytest.raises(CommandFailed) as caught:
            irondb_stores.zfs(["zfs", "x"], runner=lambda argv, timeout: (1, "", "no space"))
        assert "zfs x ended with exit code 1: no space" in str(caught.value)

    def test_space_that_is_given_back_is_awaited(self):
        rows = ["2.5G", "0"]

        def run(argv, timeout=0):
            return "NAME  PROPERTY  VALUE  SOURCE\ntank  freeing  {0}  -\n".format(rows.pop(0))

        irondb_stores.wait_freed("tank", run, pause=lambda seconds: None)
        assert rows == []
        with pytest.raises(TimedOut):
            irondb_stores.wait_freed("tank", lambda argv, timeout=0: "NAME\ntank freeing 1G -\n", seconds=-1)

    def test_a_pool_without_that_property_has_nothing_to_wait_for(self):
        def run(argv, timeout=0):
            raise CommandFailed("bad property list: invalid property 'freeing'")

        assert irondb_stores.freeing("tank", run) == 0
