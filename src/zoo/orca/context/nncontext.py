"""`init_nncontext`, with which programs began before there was `init_orca_context`."""

from collections.abc import Mapping
from typing import Any

from zoo.orca.context.context import init_orca_context, under_spark_submit
from zoo.orca.errors import InvalidInputError


def init_nncontext(
    conf: Any = None,
    cluster_mode: str = "spark-submit",
    spark_log_level: str = "WARN",
    redirect_spark_log: bool = True,
    **kwargs: Any,
) -> Any:
    """Return the active SparkContext, or a new one, as `init_orca_context` does.

    Parameters
    ----------
    conf : SparkConf, dict or str, optional
        Spark's settings; or the application's name.
    cluster_mode : str
        As for `init_orca_context`. The default takes the session that ``spark-submit`` set up, and
        without one starts a local one.
    spark_log_level : str
    redirect_spark_log : bool
        Accepted as in the original, without effect.
    **kwargs : object
        More arguments of `init_orca_context`.

    Raises
    ------
    InvalidInputError
        If `conf` is none of these.
    """
    settings = dict(kwargs.pop("spark_conf", None) or {})
    if isinstance(conf, str):
        settings["spark.app.name"] = conf
    elif isinstance(conf, Mapping):
        settings.update(conf)
    elif hasattr(conf, "getAll"):
        settings.update(dict(conf.getAll()))
    elif conf is not None:
        raise InvalidInputError(
            f"conf must be a SparkConf, a dict or a name, got {type(conf).__qualname__}\n"
            "Write init_nncontext('name'), or pass a SparkConf"
        )
    if settings:
        kwargs["conf"] = settings
    if cluster_mode == "spark-submit" and not under_spark_submit():
        cluster_mode = "local"
    return init_orca_context(cluster_mode, spark_log_level=spark_log_level, **kwargs)
