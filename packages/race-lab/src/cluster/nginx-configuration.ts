/** Requests of one member for coupons: handed on in a second, handed on at once, and waiting, before he is refused. */
const MEMBER_RATE = 50;
const MEMBER_AT_ONCE = 100;
const MEMBER_BURST = 1_200;
/** Connections of a worker, which are those of clients and those to instances; and files that it may have open, which they are too. */
const CONNECTIONS = 4_096;
const OPEN_FILES = 8_192;
/** To all instances together, while nobody uses them. */
const KEPT_CONNECTIONS = 128;
/** Shorter than an instance keeps a connection (72 s): a POST that meets its end on the way is not sent again, and would be 502. */
const KEPT_FOR_S = 60;
/** What a connection has taken of memory is given back now and then. */
const REQUESTS_PER_CONNECTION = 100_000;
/** For an answer of an instance: longer than any strategy makes a client wait, in seconds. */
const READ_LIMIT_S = 300;
/** Answered by nginx itself: a probe that went through would move the rotation on. */
export const NGINX_READY_PATH = '/.race-lab/ready';

export interface NginxPlace {
  /** `address:port` */
  listen: string;
  /** `host:port` of each instance, in the order of the rotation. */
  upstreams: readonly string[];
  /** Directives outside `http`, and within it, that this place needs beside those that all have. */
  main?: readonly string[];
  http?: readonly string[];
}

/**
 * The published front door: one upstream, requests handed out round-robin. The same for the lab and for containers.
 *
 * One worker, because each worker rotates for itself. `max_fails=0`, because otherwise one broken exchange takes
 * an instance out of the rotation for ten seconds; a dead one refuses the connection, and the next is tried at once. The body limit is above the shop's own, so that the shop
 * is the one that answers a body that is too large.
 *
 * Beyond the published: of one member who asks for a coupon over a thousand connections, all but the first hundred wait here,
 * where that costs next to nothing, and are handed on at a steady rate. Each instance limits a member too, but what comes as
 * far as that has been accepted and read. Who he is says his token, or in demo mode `X-Member-Id`. It is the token that is
 * limited, as the shop reads it from the header, however that is written; nobody is believed here, so a member with several
 * tokens has the limit for each, and only the instances bound what he has in all. (The last character of a signature holds
 * two bits that mean nothing: one token can be written in four ways.)
 *
 * Connections to the instances are kept, since opening one costs as much as many an answer.
 *
 * The limit of open files is the worker's own, because that of a container may be 1024. Who may not raise it is told so in the
 * log, and served all the same.
 */
export function nginxConfiguration({ listen, upstreams, main = [], http = [] }: NginxPlace): string {
  const lines = (directives: readonly string[], indent = '') =>
    directives.map((directive) => `${indent}${directive}\n`).join('');
  const servers = upstreams.map((upstream) => `server ${upstream} max_fails=0;`);
  return `${lines(main)}worker_processes 1;
worker_rlimit_nofile ${OPEN_FILES};
error_log stderr warn;
events {
  worker_connections ${CONNECTIONS};
}
http {
  access_log off;
  client_max_body_size 4m;
${lines(http, '  ')}  upstream lotto_backend {
${lines(servers, '    ')}    keepalive ${KEPT_CONNECTIONS};
    keepalive_timeout ${KEPT_FOR_S}s;
    keepalive_requests ${REQUESTS_PER_CONNECTION};
  }
  map $http_x_member_id $named_member {
    default $http_x_member_id;
    "" 1;
  }
  map $http_authorization $member {
    default $named_member;
    "~*^\\s*Bearer +(?<token>[^\\s,]+)" $token;
  }
  limit_req_zone $member zone=members:10m rate=${MEMBER_RATE}r/s;
  limit_req_status 429;
  limit_req_log_level notice;
  server {
    listen ${listen};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_read_timeout ${READ_LIMIT_S}s;
    location / {
      proxy_pass http://lotto_backend;
    }
    location ~ ^/api/coupon/ {
      limit_req zone=members burst=${MEMBER_BURST} delay=${MEMBER_AT_ONCE};
      error_page 429 = @too_many;
      proxy_pass http://lotto_backend;
    }
    location @too_many {
      default_type application/json;
      add_header Retry-After 1 always;
      return 429 '{"success":false,"status":429,"message":"You ask too often.","code":"too-many-requests","data":null}';
    }
    location = ${NGINX_READY_PATH} {
      return 204;
    }
  }
}
`;
}
