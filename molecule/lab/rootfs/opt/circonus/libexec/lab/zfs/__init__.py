"""What zfs-fuse lacks of a current ZFS, in front of its programs; a stand-in for these parts only."""
