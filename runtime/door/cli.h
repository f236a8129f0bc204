/* The command line: `aether SUBCOMMAND …` (API.md). */
#ifndef AE_DOOR_CLI_H
#define AE_DOOR_CLI_H

/* Parses and runs one subcommand; returns the exit status. */
int ae_cli_main(int argc, char **argv);

#endif
