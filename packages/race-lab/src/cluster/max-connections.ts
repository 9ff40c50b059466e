/** Connections that a private database server takes. */
export const MAX_CONNECTIONS = 200;
