"""One run over one work_dir, on a host that several runs may share."""
