# An application image that runs under stoker, made from an official Tomcat
# image. `docker build -t my-app .` in this repository gives a Tomcat without
# applications; copy it whole and add yours.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
        -tags urfave_cli_no_docs,urfave_cli_no_suggest \
        -ldflags "-s -w -X main.version=${VERSION}" -o /stoker ./cmd/stoker

FROM tomcat:10.1-jre17
COPY --from=build /stoker /usr/local/bin/stoker
# COPY my-app.war /usr/local/tomcat/webapps/
# COPY stoker.yaml /etc/stoker/stoker.yaml
HEALTHCHECK --interval=10s --timeout=5s --start-period=2m CMD ["stoker", "health"]
ENTRYPOINT ["stoker", "run"]
# The base image's CMD starts catalina.sh; without a CMD stoker finds Tomcat itself.
CMD []
