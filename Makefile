# Every target sets up what it needs: a virtual environment in .venv from constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
# Two processes, each on cores of its own; a file's tests stay together, for what they share is made once.
TWO := -n 2 --dist loadfile
# What only the tests of Spark, and of Iceberg's other readers, need; Java 17 or newer and Maven come from the system.
# Iceberg's runtime knows Spark up to 4.1, and DuckDB's extensions are of one version of it.
SPARK := pyspark==4.1.3 py4j==0.10.9.9
READERS := duckdb==1.5.5 duckdb-extension-avro==1.5.5 duckdb-extension-iceberg==1.5.5 pytz==2025.2
ICEBERG := org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0
# What drives Chromium, which comes from the system, and what judges whether pages are for everybody.
BROWSING := playwright-core@1.65.1 axe-core@4.14.1
# The oldest that pyproject.toml allows; what they stand on comes with them.
LOWEST := torch==2.11.0 transformers==5.17.0

.PHONY: help demo test quick check generate test-slow test-services test-streams test-dataflow test-cluster test-nights test-browser test-deploy test-package image-test clean

help:
	@echo "make demo       label the bundled sample with the bundled checkpoint"
	@echo "make test       all tests (half an hour on 2 cores)"
	@echo "make quick      the tests that run no pipeline (under 90 seconds)"
	@echo "make check      ruff, mypy and hadolint"
	@echo "make generate   write anew what is made from the code: templates, Terraform's variables, pages of reference"
	@echo "make test-services  the tests that need Spark, and so Java and Maven, and DuckDB's part of Iceberg"
	@echo "make test-streams  the tests that need a Pub/Sub broker, and so Go"
	@echo "make test-dataflow  jobs for Dataflow, sent to a double of it that runs them (under 5 minutes)"
	@echo "make test-cluster  Prism, and a Flink cluster of two TaskManagers (needs Java, Maven, Go, iproute2 and a root user; under 15 minutes)"
	@echo "make test-nights  nights by deploy/nightly.sh, ten in a row with all that goes wrong, and fine-tuning (under 15 minutes)"
	@echo "make test-browser  pages in Chromium, with axe-core (needs node, npm and chromium; under 3 minutes)"
	@echo "make test-deploy  the tests that need shellcheck, systemd and a root user"
	@echo "make test-package  the wheel in an empty environment of each Python there is, and each extra"
	@echo "make image-test  build the image and run it (needs buildah, debootstrap, Go and a root user; under 15 minutes)"
	@echo "make test-slow  the tests that take minutes each, and the model's with the oldest torch and transformers"

demo: .venv/.demo
	@$(BIN)/python -m pipelines.classify --runner=DirectRunner

test: .venv/.test
	$(BIN)/python -m pytest -q $(TWO)

quick: .venv/.test
	$(BIN)/python -m pytest -q $(TWO) -m "not slow and not gpu and not engine and not shared and not streams and not spark and not nights and not deploy and not package and not image and not dataflow and not cluster and not browser"

test-slow: .venv/.test .venv-lowest/.test
	$(BIN)/python -m pytest -q -m slow
	.venv-lowest/bin/python -m pytest -q $(TWO) tests/model

test-services: .venv/.test .venv-spark/.test
	$(BIN)/python -m pytest -q -m spark

test-streams: .venv/.test
	$(BIN)/python -m pytest -q -n 4 --dist worksteal -m "streams and not slow"

test-dataflow: .venv/.test
	$(BIN)/python -m pytest -q $(TWO) -m dataflow

test-cluster: .venv/.test
	$(BIN)/python -m pytest -q $(TWO) -m cluster --timeout=900

test-nights: .venv/.test
	$(BIN)/python -m pytest -q $(TWO) -m nights

test-browser: .venv/.test .browser/.test
	@command -v chromium >/dev/null || { echo "chromium is not installed, in which pages are looked at (Debian: apt-get install chromium)" >&2; exit 1; }
	$(BIN)/python -m pytest -q -m browser

test-deploy: .venv/.test
	$(BIN)/python -m pytest -q -m deploy

test-package: .venv/.test
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m package

image-test: .venv/.test
	@for each in buildah debootstrap go unshare; do command -v $$each >/dev/null || { echo "$$each is not installed: the image cannot be built and tried here (Debian: apt-get install buildah debootstrap golang)" >&2; exit 1; }; done
	@[ "$$(id -u)" = 0 ] || { echo "the image is built and tried in namespaces, which takes a root user" >&2; exit 1; }
	$(BIN)/python -m pytest -q -m image

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Dockerfile
	$(BIN)/mypy

generate: .venv/.test
	$(BIN)/python -m deploy.generate

clean:
	rm -rf .venv .venv-lowest .venv-spark .browser demo-output

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: install Python 3.11 or newer, or name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) -V 2>&1 | cut -d' ' -f2): name another one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) comes without its venv module: install it (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
	@echo "creating the environment in .venv (some minutes, once) ..."
	@$(PYTHON) -m venv .venv

.venv/.demo: .venv/bin/python pyproject.toml constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/.test: .venv/bin/python pyproject.toml constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

.venv-lowest/.test: .venv/bin/python pyproject.toml constraints.txt
	@echo "creating an environment with $(LOWEST) in .venv-lowest ..."
	@$(PYTHON) -m venv .venv-lowest
	@sed -E '/^(cuda|huggingface|nvidia|torch|transformers|triton)/d' constraints.txt >.venv-lowest/constraints.txt
	@.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-lowest/constraints.txt $(LOWEST) -e '.[test]'
	@touch $@

.browser/.test: Makefile
	@command -v npm >/dev/null || { echo "node and npm are not installed, by which the browser is driven (Debian: apt-get install nodejs npm)" >&2; exit 1; }
	@npm install --silent --no-save --no-audit --no-fund --prefix .browser $(BROWSING)
	@touch $@

.venv-spark/.test: .venv/bin/python Makefile
	@echo "creating an environment with $(SPARK) in .venv-spark ..."
	@$(PYTHON) -m venv .venv-spark
	@.venv-spark/bin/python -m pip install --quiet --disable-pip-version-check $(SPARK) $(READERS)
	@command -v mvn >/dev/null || { echo "Maven is not installed, by which Spark's part of Iceberg is fetched (Debian: apt-get install maven)" >&2; exit 1; }
	@rm -rf .venv-spark/jars
	@mvn -q -B -Dstyle.color=never dependency:copy -Dartifact=$(ICEBERG) -DoutputDirectory=$(CURDIR)/.venv-spark/jars >&2
	@touch $@
