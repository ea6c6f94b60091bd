/* What disk.c, disk-orders.c and disk-image.c know of each other. */
#define _GNU_SOURCE
#include <stdbool.h>
#include <sys/types.h>

/* everything else is hidden: the library is loaded before all others */
#define CALL __attribute__((visibility("default")))

enum kind { OTHER, TABLES, JOURNAL };

/* A file, whatever its name is now. */
struct node {
  struct node *next;
  enum kind kind;
  dev_t device;
  ino_t inode;
  /* descriptor of its image, -1: there is none */
  int image;
  /* a record, or zeros, were written and not synced */
  bool has_record, has_filling;
  /* how many syncs failed, and with which error the last one: each descriptor is told of it once */
  long failures;
  int error;
  /* syncs that began, and those that ended, which they do in this order */
  long syncs_begun, syncs_ended;
  /* what is written to this part does not reach the image any more */
  off_t lost_from, lost_to;
  struct change *first, **last;
};

/* The real calls, for use inside. */
extern int (*real_open)(const char *, int, ...);
extern int (*real_close)(int);
extern ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
extern int (*real_ftruncate)(int, off_t);
extern int (*real_unlink)(const char *);
extern int (*real_rename)(const char *, const char *);

const char *name_in(const char *path);

/* disk-orders.c: what the environment asks for */

long setting(const char *name, long otherwise);
/* The error number with which this is to fail, 0: it is not. */
int failure(enum kind kind, const char *what);
/* True when the process is to die at this point, which is one more of its kind. */
bool dies(const char *point);
void die_if(const char *point);

/* disk-image.c: what a power cut would leave. One thread at a time. */

bool has_image(void);
void image_begin(struct node *node, const char *path, bool is_new);
void image_written(struct node *node, const char *bytes, size_t size, off_t offset, bool synced);
/* A write or sync failed: of a journal, that part of the file is not to be trusted again, whatever the next one says. */
void image_lost(struct node *node, off_t offset, size_t size);
void image_length(struct node *node, off_t length);
/* What the next sync covers is taken before it and handed over after it. */
struct change *image_take(struct node *node);
void image_synced(struct node *node, struct change *covered, bool done);
void image_renamed(const char *from, const char *to);
void image_removed(const char *name);
void image_names_synced(void);
