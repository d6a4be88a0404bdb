# Rowcast as an image:
#
#     docker build -t rowcast .
#     docker run -p 4000:4000 -e DATABASE_URL=… -e API_JWT_SECRET=… rowcast
#
# The target `demo` has the chat app too; docker-compose.yml uses it.

FROM rust:1.95.0-slim-trixie AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
# A layer of its own for the dependencies, good until these two files change: empty programs
# stand in for the sources.
RUN for file in $(sed -n 's/^path = "\(.*\)"$/\1/p' Cargo.toml); do \
      mkdir -p "$(dirname "$file")" && echo 'fn main() {}' >"$file" || exit 1; \
    done && \
    touch src/lib.rs && \
    cargo build --release --locked --bin rowcast
COPY sql sql
COPY docs/architecture.md docs/
COPY src src
# Copies keep their times, and must not look older than what was made of the stand-ins.
RUN touch src/lib.rs src/main.rs && \
    cargo build --release --locked --bin rowcast

FROM node:22.23.2-bookworm-slim AS chat
WORKDIR /build
COPY clients/package.json clients/package-lock.json ./
COPY clients/chat-js/package.json chat-js/
COPY clients/nextjs-chat/package.json nextjs-chat/
RUN npm ci --no-audit --no-fund
COPY clients ./
# For the root of the server that serves it.
RUN BASE_PATH='' NEXT_TELEMETRY_DISABLED=1 npm run build --workspace rowcast-nextjs-chat

# Debian rather than less: the health check needs a shell. That of Supabase's compose file, which
# stays when its image is replaced by this one, needs curl.
FROM debian:trixie-20261005-slim AS base
LABEL org.opencontainers.image.title="Rowcast" \
      org.opencontainers.image.description="Realtime for PostgreSQL: row changes, broadcast and presence over WebSockets" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update && apt-get install -y --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
COPY LICENSE /usr/share/doc/rowcast/
# Authorities, for databases, Redis and key sets behind TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --chmod=755 deploy/healthcheck.sh /usr/local/bin/healthcheck
COPY --from=build /build/target/release/rowcast /usr/local/bin/
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
EXPOSE 4000
# Rowcast sends its clients away and waits for them, see ROWCAST_DRAIN_TIMEOUT_MS.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["healthcheck"]
ENTRYPOINT ["rowcast"]
CMD ["serve"]

FROM base AS demo
COPY --chmod=755 deploy/sign-in.sh /usr/local/bin/sign-in
COPY --from=chat /build/nextjs-chat/out /srv/chat
CMD ["serve", "--static", "/srv/chat"]

FROM base AS server
