// The init of a micro guest that tries the driver ivshmem_uio from inside: loads it, maps both BARs, unbinds it under
// users of every kind, binds it again and loads it again many times, and then answers interrupts. Says READY or FAILED on the port that
// provision listens to.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define DRIVER "/sys/bus/pci/drivers/ivshmem_uio"
#define PAGE 4096
// Enough that a leak of one object each is told from the slack of slabs and deferred frees.
#define TIMES 200
#define SLACK (TIMES / 2)

static const char *port = "/dev/ttyS1";
static char device[64];
static char driver[300];
static sigjmp_buf fault;

static void tell(const char *format, ...)
{
	char line[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line) - 1, format, arguments);
	va_end(arguments);
	strcat(line, "\n");
	int fd = open(port, O_WRONLY);
	if (write(fd, line, strlen(line)) < 0)
		perror(port);
	close(fd);
}

static void stop(void)
{
	sync();
	reboot(RB_POWER_OFF);
	_exit(1);
}

// What has to be true; else the start fails in these words.
#define MUST(condition)                                                                       \
	do {                                                                                  \
		if (!(condition)) {                                                           \
			tell("FAILED trial.c:%d: %s (errno %d)", __LINE__, #condition, errno); \
			stop();                                                               \
		}                                                                             \
	} while (0)

static void read_text(const char *path, char *text, size_t bytes)
{
	int fd = open(path, O_RDONLY);
	ssize_t got = read(fd, text, bytes - 1);
	MUST(got >= 0);
	close(fd);
	text[got] = 0;
	text[strcspn(text, "\n")] = 0;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int failed = write(fd, text, strlen(text)) < 0;
	close(fd);
	return failed ? -1 : 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_module(const struct dirent *entry)
{
	return strstr(entry->d_name, ".ko") != NULL;
}

static void load(const char *path)
{
	int fd = open(path, O_RDONLY);
	MUST(syscall(SYS_finit_module, fd, "", 0) == 0);
	close(fd);
}

static void load_modules(void)
{
	struct dirent **modules;
	int count = scandir("/modules", &modules, is_module, by_name);
	MUST(count > 0);
	for (int i = 0; i < count; i++) {
		char path[300];
		snprintf(path, sizeof(path), "/modules/%s", modules[i]->d_name);
		load(path);
		if (strstr(path, "ivshmem_uio"))
			strcpy(driver, path);
	}
	MUST(driver[0] != 0);
}

static int unload(void)
{
	return (int)syscall(SYS_delete_module, "ivshmem_uio", O_NONBLOCK);
}

static void find_device(void)
{
	DIR *bound = opendir(DRIVER);
	MUST(bound != NULL);
	for (struct dirent *entry; (entry = readdir(bound));)
		if (strncmp(entry->d_name, "0000:", 5) == 0)
			strcpy(device, entry->d_name);
	closedir(bound);
	MUST(device[0] != 0);
}

// The /dev/uioN of a vector, and the size of one of its maps when that is asked for.
static int open_vector(int vector, int map, size_t *bytes)
{
	for (int n = 0; n < 16; n++) {
		char path[128], expected[32], text[64];
		snprintf(path, sizeof(path), "/sys/class/uio/uio%d/name", n);
		if (access(path, R_OK) != 0)
			continue;
		read_text(path, text, sizeof(text));
		snprintf(expected, sizeof(expected), "ivshmem_uio.%d", vector);
		if (strcmp(text, expected) != 0)
			continue;
		if (bytes) {
			snprintf(path, sizeof(path), "/sys/class/uio/uio%d/maps/map%d/size", n, map);
			read_text(path, text, sizeof(text));
			*bytes = strtoul(text, NULL, 16);
		}
		snprintf(path, sizeof(path), "/dev/uio%d", n);
		return open(path, O_RDWR);
	}
	return -1;
}

static volatile uint32_t *map(int fd, int index, size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)index * PAGE);
	return at == MAP_FAILED ? NULL : at;
}

static void jump(int signal)
{
	siglongjmp(fault, signal);
}

// Whether reading there ends in SIGBUS.
static int is_gone(volatile uint32_t *word)
{
	if (sigsetjmp(fault, 1) != 0)
		return 1;
	(void)*word;
	return 0;
}

static void unbind(void)
{
	MUST(write_text(DRIVER "/unbind", device) == 0);
}

static void bind(void)
{
	MUST(write_text(DRIVER "/bind", device) == 0);
}

static void try_mappings(void)
{
	size_t bytes;
	char path[256], text[16];
	int fd = open_vector(0, 1, &bytes);
	volatile uint32_t *memory = map(fd, 1, bytes);
	snprintf(path, sizeof(path), DRIVER "/%s/shared_memory_pages", device);
	read_text(path, text, sizeof(text));
	MUST(strcmp(text, "1") == 0);
	MUST(memory != NULL);
	MUST(mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, PAGE) == MAP_FAILED);
	MUST(mmap(NULL, bytes + PAGE, PROT_READ, MAP_SHARED, fd, PAGE) == MAP_FAILED);
	MUST(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 2 * PAGE) == MAP_FAILED);
	for (size_t page = 0; page < bytes / PAGE; page++)
		memory[page * PAGE / 4] = (uint32_t)page;
	// A hole makes two mappings of one, whose second begins elsewhere in the BAR.
	MUST(munmap((void *)(memory + PAGE), 4 * PAGE) == 0);
	MUST(memory[8 * PAGE / 4] == 8);
	MUST(madvise((void *)(memory + 8 * PAGE / 4), PAGE, MADV_DONTNEED) == 0);
	MUST(memory[8 * PAGE / 4] == 8);
	int status;
	if (fork() == 0)
		_exit(memory[9 * PAGE / 4] == 9 ? 0 : 1);
	MUST(wait(&status) > 0 && status == 0);
	// Another node of the same device would be another file, which unbinding would not find.
	struct stat node;
	MUST(fstat(fd, &node) == 0 && mknod("/dev/second", S_IFCHR | 0600, node.st_rdev) == 0);
	int second = open("/dev/second", O_RDWR);
	MUST(second >= 0 && map(second, 1, bytes) == NULL && errno == EBUSY);
	close(second);
	MUST(munmap((void *)memory, 4 * PAGE) == 0);
	MUST(munmap((void *)(memory + 2 * PAGE), bytes - 8 * PAGE) == 0);
	second = open("/dev/second", O_RDWR);
	memory = map(second, 1, bytes);
	MUST(memory != NULL && memory[9 * PAGE / 4] == 9);
	MUST(munmap((void *)memory, bytes) == 0);
	close(second);
	unlink("/dev/second");
	close(fd);
}

// A file that is open, mappings here and in a process that writes without pause.
static void try_unbinding_under_users(void)
{
	size_t bytes;
	int status, fd = open_vector(0, 1, &bytes);
	volatile uint32_t *registers = map(fd, 0, PAGE), *memory = map(fd, 1, bytes);
	MUST(registers != NULL && memory != NULL);
	memory[0] = 1;
	pid_t child = fork();
	if (child == 0) {
		signal(SIGBUS, SIG_DFL);
		for (;;)
			memory[PAGE / 4]++;
	}
	unbind();
	MUST(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	MUST(is_gone(memory) && is_gone(memory + PAGE) && is_gone(registers));
	uint32_t count;
	MUST(read(fd, &count, sizeof(count)) < 0 && errno == EIO);
	MUST(map(fd, 1, bytes) == NULL);
	bind();
	MUST(is_gone(memory));
	int again = open_vector(0, 1, &bytes);
	volatile uint32_t *anew = map(again, 1, bytes);
	MUST(anew != NULL && anew[0] == 1);
	munmap((void *)anew, bytes);
	munmap((void *)memory, bytes);
	munmap((void *)registers, PAGE);
	close(again);
	close(fd);
}

// A pipe holds pages of the memory: unbinding waits for it, and what it holds stays what it was.
static void try_unbinding_under_io(void)
{
	size_t bytes;
	int status, ends[2], fd = open_vector(0, 1, &bytes);
	volatile uint32_t *memory = map(fd, 1, bytes);
	memory[0] = 0x600df00d;
	MUST(pipe(ends) == 0);
	struct iovec page = { .iov_base = (void *)memory, .iov_len = PAGE };
	MUST(vmsplice(ends[1], &page, 1, 0) == PAGE);
	pid_t child = fork();
	if (child == 0) {
		// Its copy of the pipe would keep the page.
		close(ends[0]);
		close(ends[1]);
		unbind();
		_exit(0);
	}
	// Taken back first; it then waits.
	while (!is_gone(memory))
		sched_yield();
	sleep(1);
	MUST(waitpid(child, &status, WNOHANG) == 0);
	uint32_t words[PAGE / 4];
	MUST(read(ends[0], words, sizeof(words)) == PAGE && words[0] == 0x600df00d);
	MUST(waitpid(child, &status, 0) == child && status == 0);
	munmap((void *)memory, bytes);
	close(ends[0]);
	close(ends[1]);
	close(fd);
	bind();
}

struct slab {
	char name[64];
	long objects;
};

// Objects on a CPU's own slabs count as used, free or not: shrinking a cache gives those up first.
static int read_slabs(struct slab *slabs, int most)
{
	char line[512];
	int count = 0;
	DIR *caches = opendir("/sys/kernel/slab");
	MUST(caches != NULL);
	for (struct dirent *cache; (cache = readdir(caches));) {
		char path[300];
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", cache->d_name);
		write_text(path, "1");
	}
	closedir(caches);
	FILE *file = fopen("/proc/slabinfo", "r");
	MUST(file != NULL);
	while (count < most && fgets(line, sizeof(line), file))
		if (sscanf(line, "%63s %ld", slabs[count].name, &slabs[count].objects) == 2)
			count++;
	fclose(file);
	return count;
}

static void rebind(int times)
{
	for (int i = 0; i < times; i++) {
		unbind();
		bind();
	}
}

// Unloading unbinds, and loading binds.
static void reload(int times)
{
	for (int i = 0; i < times; i++) {
		MUST(unload() == 0);
		MUST(access(DRIVER, F_OK) != 0 && open_vector(0, 0, NULL) < 0);
		load(driver);
		MUST(access("/dev/uio0", F_OK) == 0);
	}
}

// A driver whose device is open stays.
static void try_unloading_under_users(void)
{
	size_t bytes;
	int fd = open_vector(0, 1, &bytes);
	volatile uint32_t *memory = map(fd, 1, bytes);
	close(fd);
	MUST(unload() < 0 && errno == EWOULDBLOCK);
	memory[0] = 1;
	MUST(munmap((void *)memory, bytes) == 0);
}

// The most that any kind of kernel object has become more by doing something TIMES times. Frees are deferred (RCU, lazy
// unmapping), so it is looked at again until it is little, for ten seconds at most.
static long growth(void (*repeat)(int), char *name)
{
	static struct slab before[512], after[512];
	int count = read_slabs(before, 512);
	repeat(TIMES);
	long most = 0;
	for (int tries = 0; tries < 10; tries++) {
		int found = read_slabs(after, 512);
		most = 0;
		for (int i = 0; i < found && i < count; i++) {
			long more = after[i].objects - before[i].objects;
			if (strcmp(after[i].name, before[i].name) == 0 && more > most) {
				most = more;
				strcpy(name, after[i].name);
			}
		}
		if (most < SLACK)
			break;
		sleep(1);
	}
	return most;
}

// What leaks grows each time. What else grows now and then (a cache of small objects has hundreds in the one slab that a
// CPU holds) does not grow three times in a row.
static void must_not_leak(const char *what, void (*repeat)(int))
{
	char name[64] = "none";
	long more = SLACK;
	repeat(TIMES / 4);
	sleep(1);
	for (int rounds = 0; rounds < 3 && more >= SLACK; rounds++) {
		more = growth(repeat, name);
		fprintf(stderr, "trial: after %d times %s the most there is more of is %s: %ld\n", TIMES, what, name, more);
	}
	if (more >= SLACK) {
		tell("FAILED after %d times %s there are %ld more of %s", TIMES, what, more, name);
		stop();
	}
}

// For each interrupt: tells the host their number in the memory's first word, and rings the peer named in its second.
static void answer(int fd, volatile uint32_t *registers, volatile uint32_t *memory)
{
	for (;;) {
		uint32_t count;
		MUST(read(fd, &count, sizeof(count)) == sizeof(count));
		memory[0] = count;
		__sync_synchronize();
		registers[3] = memory[1] << 16;
	}
}

int main(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	MUST(mount("proc", "/proc", "proc", 0, NULL) == 0);
	MUST(mount("sys", "/sys", "sysfs", 0, NULL) == 0);
	signal(SIGBUS, jump);
	load_modules();
	find_device();
	try_mappings();
	try_unbinding_under_users();
	try_unbinding_under_io();
	try_unloading_under_users();
	must_not_leak("rebinding", rebind);
	must_not_leak("reloading", reload);

	size_t bytes;
	int fd = open_vector(0, 1, &bytes);
	MUST(open_vector(1, 0, NULL) >= 0 && open_vector(2, 0, NULL) < 0);
	volatile uint32_t *registers = map(fd, 0, PAGE), *memory = map(fd, 1, bytes);
	MUST(registers != NULL && memory != NULL);
	memory[2] = 0;
	tell("READY peer=%u registers=%p memory=%p bytes=%zu", registers[2], (void *)registers, (void *)memory, bytes);
	// Whoever looks at this process's page tables finds it running.
	while (memory[2] == 0)
		;
	answer(fd, registers, memory);
}
