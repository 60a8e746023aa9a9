"""Objects that live in one process and are used from others, through proxies."""

import queue
import threading
from typing import TYPE_CHECKING, Any

from phalanx._managers.locks import ManagedLock, ManagedRLock
from phalanx._managers.manager import BaseManager as BaseManager
from phalanx._managers.manager import State as State
from phalanx._managers.objects import all_methods as all_methods
from phalanx._managers.objects import public_methods as public_methods
from phalanx._managers.protocol import RemoteError as RemoteError
from phalanx._managers.protocol import Token as Token
from phalanx._managers.protocol import convert_to_error as convert_to_error
from phalanx._managers.protocol import dispatch as dispatch
from phalanx._managers.proxies import AcquirerProxy as AcquirerProxy
from phalanx._managers.proxies import ArrayProxy as ArrayProxy
from phalanx._managers.proxies import BarrierProxy as BarrierProxy
from phalanx._managers.proxies import BaseListProxy as BaseListProxy
from phalanx._managers.proxies import BasePoolProxy as BasePoolProxy
from phalanx._managers.proxies import ConditionProxy as ConditionProxy
from phalanx._managers.proxies import DictProxy as DictProxy
from phalanx._managers.proxies import EventProxy as EventProxy
from phalanx._managers.proxies import IteratorProxy as IteratorProxy
from phalanx._managers.proxies import ListProxy as ListProxy
from phalanx._managers.proxies import LockProxy as LockProxy
from phalanx._managers.proxies import NamespaceProxy as NamespaceProxy
from phalanx._managers.proxies import PoolProxy as PoolProxy
from phalanx._managers.proxies import SetProxy as SetProxy
from phalanx._managers.proxies import ValueProxy as ValueProxy
from phalanx._managers.proxy import AutoProxy as AutoProxy
from phalanx._managers.proxy import BaseProxy as BaseProxy
from phalanx._managers.proxy import MakeProxyType as MakeProxyType
from phalanx._managers.proxy import RebuildProxy as RebuildProxy
from phalanx._managers.server import Server as Server
from phalanx._managers.server import listener_client as listener_client
from phalanx._managers.shared_memory import SharedMemoryManager as SharedMemoryManager
from phalanx._managers.shared_memory import SharedMemoryServer as SharedMemoryServer
from phalanx._managers.values import Array as Array
from phalanx._managers.values import Namespace as Namespace
from phalanx._managers.values import Value as Value

__all__ = ["BaseManager", "BaseProxy", "SharedMemoryManager", "SyncManager", "Token"]


class SyncManager(BaseManager):
    """A manager of the types that processes synchronise and share data with; `phalanx.Manager()` starts one."""

    if TYPE_CHECKING:
        Queue: Any
        JoinableQueue: Any
        Event: Any
        Lock: Any
        RLock: Any
        Semaphore: Any
        BoundedSemaphore: Any
        Condition: Any
        Barrier: Any
        Pool: Any
        list: Any
        dict: Any
        set: Any
        Value: Any
        Array: Any
        Namespace: Any


def _make_pool(*args: Any, **kwds: Any) -> Any:
    from phalanx.pool import Pool

    return Pool(*args, **kwds)


def _make_condition(lock: Any = None) -> threading.Condition:
    own: Any = ManagedRLock()
    return threading.Condition(own if lock is None else lock)


SyncManager.register("Queue", queue.Queue)
SyncManager.register("JoinableQueue", queue.Queue)
SyncManager.register("Event", threading.Event, EventProxy)
SyncManager.register("Lock", ManagedLock, LockProxy)
SyncManager.register("RLock", ManagedRLock, LockProxy)
SyncManager.register("Semaphore", threading.Semaphore, AcquirerProxy)
SyncManager.register("BoundedSemaphore", threading.BoundedSemaphore, AcquirerProxy)
SyncManager.register("Condition", _make_condition, ConditionProxy)
SyncManager.register("Barrier", threading.Barrier, BarrierProxy)
SyncManager.register("Pool", _make_pool, PoolProxy)
SyncManager.register("list", list, ListProxy)
SyncManager.register("dict", dict, DictProxy)
SyncManager.register("set", set, SetProxy)
SyncManager.register("Value", Value, ValueProxy)
SyncManager.register("Array", Array, ArrayProxy)
SyncManager.register("Namespace", Namespace, NamespaceProxy)
SyncManager.register("Iterator", proxytype=IteratorProxy, create_method=False)
SyncManager.register("AsyncResult", create_method=False)
