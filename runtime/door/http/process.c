#include "door/http/process.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static void one(ae__exposition *e, const char *name, const char *help,
                uint64_t value) {
  ae__family(e, name, "gauge", help);
  ae__sample(e, "");
  ae__value(e, value);
}

static void write_cpu(ae__exposition *e) {
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0) return;
  const struct timeval *user = &usage.ru_utime, *system = &usage.ru_stime;
  uint64_t us = (uint64_t)(user->tv_sec + system->tv_sec) * 1000000 +
                (uint64_t)(user->tv_usec + system->tv_usec);
  ae__family(e, "process_cpu_seconds_total", "counter",
             "User and system CPU time, of all threads.");
  ae__sample(e, "");
  ae__value_ns(e, us * 1000);
}

static void write_memory(ae__exposition *e) {
  unsigned long long size, resident;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file) return;
  int got = fscanf(file, "%llu %llu", &size, &resident);
  fclose(file);
  if (got != 2) return;
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  one(e, "process_virtual_memory_bytes", "Address space that is mapped.",
      size * page);
  one(e, "process_resident_memory_bytes", "Memory in use.", resident * page);
}

static void write_files(ae__exposition *e) {
  struct rlimit limit;
  DIR *folder = opendir("/proc/self/fd");
  if (folder) {
    uint64_t count = 0;
    for (struct dirent *entry; (entry = readdir(folder));)
      count += entry->d_name[0] != '.';
    closedir(folder);
    /* One was the folder itself. */
    one(e, "process_open_fds", "Open file descriptors.", count - 1);
  }
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
    one(e, "process_max_fds", "File descriptors that may be open.",
        (uint64_t)limit.rlim_cur);
}

void ae__process_write(ae__exposition *e, int64_t started) {
  write_cpu(e);
  write_memory(e);
  write_files(e);
  ae__family(e, "process_start_time_seconds", "gauge",
             "When it started, in seconds since 1970.");
  ae__sample(e, "");
  ae__value_ns(e, (uint64_t)started * 1000);
}
