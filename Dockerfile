# An application image that runs under stoker, made from an official Tomcat
# image. `docker build -t my-app .` in this repository gives a Tomcat without
# applications; copy it whole and add yours.
FROM tomcat:10.1-jdk17 AS agent
COPY jvm/drain/Drain.java /
RUN javac --release 8 -Xlint:-options -g:none -d /agent /Drain.java
FROM golang:1.26 AS build
WORKDIR /src
COPY . .
COPY --from=agent /agent/stoker/Drain.class jvm/drain/class/
ARG VERSION=dev
RUN CGO_ENABLED=0 go build $(scripts/goflags.sh) \
        -ldflags "-s -w -funcalign 16 -X main.version=${VERSION}" -o /stoker ./cmd/stoker

FROM tomcat:10.1-jre17
COPY --from=build /stoker /usr/local/bin/stoker
# COPY my-app.war /usr/local/tomcat/webapps/
# COPY stoker.yaml /etc/stoker/stoker.yaml
HEALTHCHECK --interval=10s --timeout=5s --start-period=2m CMD ["stoker", "health"]
ENTRYPOINT ["stoker", "run"]
# The base image's CMD starts catalina.sh; without a CMD stoker finds Tomcat itself.
CMD []
