"""Logs: what the packages tell while they work, which is kept for whoever reads a flow run's log on the server."""

import logging

PACKAGES = ("flows", "prior", "storage", "train")


def open_logs() -> None:
    """Let our packages speak, and Dask only in need, in a process that runs a flow.

    Prefect takes in what the loggers of PREFECT_LOGGING_EXTRA_LOGGERS say, which the deployments set, and leaves their levels alone.
    """
    for package in PACKAGES:
        logging.getLogger(package).setLevel(logging.INFO)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a worker that ends itself on purpose is no news
