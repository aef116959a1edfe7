"""What was published → platforms that others look at.

    published.py   a published version as platforms are told of it
    platforms.py   which platforms there are, and telling each, whatever becomes of the others
    tables.py      which Iceberg tables were told of an output
    lineage.py     a version → events of OpenLineage
    figures.py     a manifest → metrics, once for both …
    prometheus.py  … as a file that node_exporter reads
    otlp.py        … to a collector, over HTTP
    iceberg.py     the versions of a table → an Iceberg table
    bigquery.py    a version → the load job of BigQuery

A version is published before anybody is told of it, and stays so whatever a platform says. All that is told stands in
the manifest, so it can be told again: twice is as once.
"""
