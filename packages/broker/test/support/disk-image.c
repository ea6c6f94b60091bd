#include "disk.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR_BYTES 512

/* Bytes that were written, or a length that was set (without bytes), and not synced yet. */
struct change {
  struct change *next;
  bool length_only;
  off_t offset;
  size_t size;
  char bytes[];
};

/* A name that came, went (`to` is empty) or changed, and is not synced yet. */
struct renaming {
  struct renaming *next;
  char from[NAME_MAX + 1], to[NAME_MAX + 1];
};

static struct renaming *renamings, **last_renaming = &renamings;
static long syncs;

bool has_image(void) { return getenv("DISK_IMAGE") != NULL; }

static void must(bool done) {
  if (done) return;
  perror("disk image");
  abort();
}

static bool lies(void) {
  long honest = setting("DISK_LIE_AFTER", -1);
  return honest >= 0 && syncs > honest;
}

static const char *image_path(char *path, const char *name) {
  must(snprintf(path, PATH_MAX, "%s/%s", getenv("DISK_IMAGE"), name) < PATH_MAX);
  return path;
}

static void put_in_image(struct node *node, const char *bytes, size_t size, off_t offset) {
  if (!lies() && size > 0) must(real_pwrite(node->image, bytes, size, offset) == (ssize_t)size);
}

/* All but what falls into the part that is lost. */
static void into_image(struct node *node, const char *bytes, size_t size, off_t offset) {
  off_t end = offset + (off_t)size, from = node->lost_from, to = node->lost_to;
  if (from >= end || to <= offset) {
    put_in_image(node, bytes, size, offset);
    return;
  }
  if (from > offset) put_in_image(node, bytes, (size_t)(from - offset), offset);
  if (to < end) put_in_image(node, bytes + (to - offset), (size_t)(end - to), to);
}

void image_lost(struct node *node, off_t offset, size_t size) {
  if (node->kind != JOURNAL) return;
  off_t end = offset + (off_t)size;
  bool is_first = node->lost_to == 0;
  if (is_first || offset < node->lost_from) node->lost_from = offset;
  if (is_first || end > node->lost_to) node->lost_to = end;
}

static void copy_into_image(struct node *node, const char *path) {
  char block[65536];
  off_t at = 0;
  int source = real_open(path, O_RDONLY);
  must(source >= 0);
  for (ssize_t size; (size = pread(source, block, sizeof block, at)) > 0; at += size) into_image(node, block, (size_t)size, at);
  real_close(source);
}

/* A file that is new is in the image under a name that nobody looks at, until its own is synced. */
void image_begin(struct node *node, const char *path, bool is_new) {
  static int files;
  char name[NAME_MAX + 1], target[PATH_MAX];
  mkdir(getenv("DISK_IMAGE"), 0700);
  if (is_new) snprintf(name, sizeof name, ".new-%d-%d", getpid(), files++);
  else snprintf(name, sizeof name, "%s", name_in(path));
  bool is_there = access(image_path(target, name), F_OK) == 0;
  must((node->image = real_open(target, O_RDWR | O_CREAT, 0600)) >= 0);
  if (is_new) image_renamed(name, name_in(path));
  else if (!is_there) copy_into_image(node, path);
}

static void keep(struct node *node, struct change *entry) {
  entry->next = NULL;
  *node->last = entry;
  node->last = &entry->next;
}

/* What a power cut right now would find of a write that was not synced. */
static void tear(struct node *node, const char *bytes, size_t size, off_t offset) {
  const char *how = getenv("DISK_TEAR");
  bool half = how && strcmp(how, "half") == 0;
  size_t most = !how ? 0 : half ? size / 2 : size;
  for (size_t at = 0, end; at < most; at = end) {
    end = at + SECTOR_BYTES - (size_t)((offset + (off_t)at) % SECTOR_BYTES);
    if (end > most) end = most;
    if (half || random() % 2) into_image(node, bytes + at, end - at, offset + (off_t)at);
  }
}

void image_written(struct node *node, const char *bytes, size_t size, off_t offset, bool synced) {
  if (node->image < 0) return;
  if (synced) {
    into_image(node, bytes, size, offset);
    return;
  }
  struct change *entry = malloc(sizeof *entry + size);
  entry->length_only = false;
  entry->offset = offset;
  entry->size = size;
  memcpy(entry->bytes, bytes, size);
  keep(node, entry);
  tear(node, bytes, size, offset);
}

void image_length(struct node *node, off_t length) {
  if (node->image < 0) return;
  struct change *entry = calloc(1, sizeof *entry);
  entry->length_only = true;
  entry->offset = length;
  keep(node, entry);
}

struct change *image_take(struct node *node) {
  struct change *covered = node->first;
  node->first = NULL;
  node->last = &node->first;
  return covered;
}

/* `done`: the sync succeeded. Else what it covered is lost, whatever the next one says. */
void image_synced(struct node *node, struct change *covered, bool done) {
  if (done) syncs++;
  while (covered) {
    struct change *entry = covered;
    covered = entry->next;
    if (done && !entry->length_only) into_image(node, entry->bytes, entry->size, entry->offset);
    if (!done && !entry->length_only) image_lost(node, entry->offset, entry->size);
    if (done && entry->length_only && !lies()) must(real_ftruncate(node->image, entry->offset) == 0);
    free(entry);
  }
}

static void rename_in_image(const struct renaming *entry) {
  char from[PATH_MAX], to[PATH_MAX];
  if (lies()) return;
  image_path(from, entry->from);
  int result = *entry->to ? real_rename(from, image_path(to, entry->to)) : real_unlink(from);
  must(result == 0 || (errno == ENOENT && !*entry->to));
}

void image_renamed(const char *from, const char *to) {
  struct renaming *entry = calloc(1, sizeof *entry);
  strcpy(entry->from, from);
  strcpy(entry->to, to);
  *last_renaming = entry;
  last_renaming = &entry->next;
}

static bool is_news(const char *name) {
  for (struct renaming *one = renamings; one; one = one->next)
    if (strcmp(one->from, name) == 0 || strcmp(one->to, name) == 0) return true;
  return false;
}

/* The disk may know at once that a name is gone, unless the name itself is news to it. */
void image_removed(const char *name) {
  struct renaming entry = {0};
  strcpy(entry.from, name);
  if (!is_news(name) && random() % 2) rename_in_image(&entry);
  else image_renamed(name, "");
}

void image_names_synced(void) {
  while (renamings) {
    struct renaming *entry = renamings;
    renamings = entry->next;
    rename_in_image(entry);
    free(entry);
  }
  last_renaming = &renamings;
}
