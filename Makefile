# The targets; `make help` lists them. The work is done in scripts/.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: help demo build test test-container test-matrix lint fmt bench image jacoco-agent man clean
.DEFAULT_GOAL := help

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## run a real Tomcat under stoker: start, crash, kill -9, stop
	@scripts/demo.sh

build: ## build bin/stoker, one static binary
	@scripts/build.sh "$(VERSION)"

test: ## run the tests of all packages with the race detector
	@scripts/test.sh unit

test-container: build ## run the tests that need Docker, the images and a real Tomcat
	@scripts/test.sh container

test-matrix: build ## run a short life with every JDK and Tomcat of Debian's suites (as root)
	@scripts/test.sh matrix

lint: ## check formatting, Go code and scripts
	@scripts/lint.sh

fmt: ## format the Go code
	@go=$$(scripts/go.sh) && find . -name '*.go' -not -path './.git/*' -exec "$$(dirname $$go)/gofmt" -w {} +

bench: build ## measure stoker beside other inits, and jobs beside Docker (as root)
	@scripts/bench.sh

image: build ## build the Docker image stoker-demo, without any registry
	@scripts/image.sh

jacoco-agent: ## put Debian's JaCoCo agent into plugins/jacoco/lib
	@scripts/jacoco.sh plugins/jacoco/lib/jacocoagent.jar

man: build ## write the manual page man/stoker.1
	@mkdir -p man
	@bin/stoker man > man/stoker.1

clean: ## remove what was built here, the images and what is cached
	@scripts/clean.sh
