# Two commands matter to a newcomer: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check golden screenshots bench image image-test lock proto clean

help:  ## list what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(VENV)/.runtime  ## install into .venv, with pinned and hashed dependencies

demo: $(VENV)/.runtime  ## take a real model the whole road; ARGS="--fast --no-serve" passes options
	@$(BIN)/aboveboard demo $(ARGS)

test: $(VENV)/.dev  ## run every test, with coverage
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --cov --cov-report=term:skip-covered $(ARGS)

check: $(VENV)/.dev  ## lint, types and the direction of imports
	$(BIN)/ruff check src tests bench docs
	$(BIN)/ruff format --check src tests bench docs
	$(BIN)/mypy
	$(BIN)/lint-imports

golden: $(VENV)/.dev  ## write the golden files anew, after a change that was meant
	$(BIN)/python -m pytest tests/golden --update-golden

screenshots: $(VENV)/.dev  ## take the pictures in docs/images (needs chromium)
	$(BIN)/python docs/screenshots.py

bench: $(VENV)/.dev  ## measure what the documents claim
	$(BIN)/python -m bench $(ARGS)

IMAGES := deploy/images
image:  ## build the image with Buildah, into build/image; ARGS passes options of `buildah build`
	sh $(IMAGES)/build.sh $(ARGS)

image-test: $(VENV)/.dev  ## build it, again, and without training; run what came out (as root)
	OUT=build/image sh $(IMAGES)/build.sh $(ARGS)
	OUT=build/again sh $(IMAGES)/build.sh --no-cache $(ARGS)
	TRAINING=no OUT=build/without-training sh $(IMAGES)/build.sh $(ARGS)
	ABOVEBOARD_IMAGE=build/image ABOVEBOARD_IMAGE_AGAIN=build/again $(BIN)/python -m pytest tests/integration/images
	ABOVEBOARD_IMAGE=build/without-training $(BIN)/python -m pytest tests/integration/images

UV_COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
IMAGE_EXTRAS = --extra cluster --extra postgres --extra aws --extra vault --extra grpc --extra oidc --extra otel --extra kafka
lock:  ## resolve the dependencies anew into requirements/ (needs uv)
	$(UV_COMPILE) pyproject.toml requirements/build.in -o requirements/runtime.txt
	$(UV_COMPILE) pyproject.toml --all-extras requirements/build.in -c requirements/runtime.txt -o requirements/dev.txt
	$(UV_COMPILE) requirements/kserve.in -o requirements/kserve.txt
	$(UV_COMPILE) pyproject.toml $(IMAGE_EXTRAS) requirements/build.in -c requirements/runtime.txt -o requirements/image.txt

PROTO := src/aboveboard/serving/grpc/open_inference.proto
proto: $(VENV)/.dev  ## make the gRPC messages anew from their .proto
	$(BIN)/python -m grpc_tools.protoc -I src --python_out=src --pyi_out=src --grpc_python_out=src $(PROTO)

clean:  ## remove what was built and installed
	rm -rf $(VENV) build dist src/*.egg-info src/aboveboard/models/*.so

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml $(wildcard src/aboveboard/models/*.c)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@
