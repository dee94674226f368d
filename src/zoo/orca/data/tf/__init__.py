"""Shards in the manner of `tf.data`."""
