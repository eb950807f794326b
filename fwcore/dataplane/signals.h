/* Signals that wait.
 *
 * A handler that raises (Ctrl-C, a timeout by SIGALRM) may strike between any two steps of Python
 * code. While the control plane decides, that would cut a decision in two: a transition noted and
 * not taken. So within a hold these signals are only noted; the end of the hold sends them again.
 *
 * Synchronization: Python runs handlers in the main thread alone, and only the main thread holds.
 */
#ifndef FWCORE_SIGNALS_H
#define FWCORE_SIGNALS_H

#include <signal.h>
#include <string.h>

enum { FW_SIGNALS = 4 };
static const int FW_SIGNAL[FW_SIGNALS] = {SIGINT, SIGTERM, SIGHUP, SIGALRM};
static struct sigaction fw_signal_before[FW_SIGNALS];
static volatile sig_atomic_t fw_signal_noted[FW_SIGNALS];
static int fw_signal_held[FW_SIGNALS];
static int fw_signal_depth;   /* holds within holds */

static void fw_signal_note(int number) {
    for (int i = 0; i < FW_SIGNALS; i++) {
        if (FW_SIGNAL[i] == number) fw_signal_noted[i] = 1;
    }
}

/* Only those that somebody handles: what ends the process, or is ignored, goes on to do so. */
static inline void fw_signals_hold(void) {
    struct sigaction note;
    if (fw_signal_depth++) return;
    memset(&note, 0, sizeof(note));
    note.sa_handler = fw_signal_note;
    note.sa_flags = SA_ONSTACK | SA_RESTART;
    for (int i = 0; i < FW_SIGNALS; i++) {
        fw_signal_noted[i] = 0;
        fw_signal_held[i] = sigaction(FW_SIGNAL[i], NULL, &fw_signal_before[i]) == 0
                            && fw_signal_before[i].sa_handler != SIG_DFL
                            && fw_signal_before[i].sa_handler != SIG_IGN
                            && sigaction(FW_SIGNAL[i], &note, NULL) == 0;
    }
}

static inline void fw_signals_release(void) {
    if (--fw_signal_depth) return;
    for (int i = 0; i < FW_SIGNALS; i++) {
        if (fw_signal_held[i]) sigaction(FW_SIGNAL[i], &fw_signal_before[i], NULL);
    }
    for (int i = 0; i < FW_SIGNALS; i++) {
        if (fw_signal_noted[i]) raise(FW_SIGNAL[i]);
    }
}

#endif
